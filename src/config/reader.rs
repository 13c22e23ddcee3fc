//! The written document: its values, where each of them stands, and the mistakes found in it.

use std::ops::Range;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::Fault;
use super::file::Section;

/// Mistakes told of one table, at the most.
const FAULTS_MAX: usize = 20;

/// A step into the document: a key, or the number of an array's table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step<'k> {
    /// A key of a table.
    Key(&'k str),
    /// An item of an array.
    At(usize),
}

/// One key further in.
pub(super) fn within<'k>(route: &[Step<'k>], key: &'k str) -> Vec<Step<'k>> {
    route.iter().copied().chain([Step::Key(key)]).collect()
}

/// A value as it is written.
pub(super) type Value<'a> = Spanned<DeValue<'a>>;

/// The text of one file and the mistakes found in it so far.
pub(super) struct Reader<'a> {
    pub(super) file: &'a Path,
    pub(super) text: &'a str,
    root: Value<'a>,
    /// Folder its models are taken from, instead of where it says.
    pub(super) bundle: Option<&'a Path>,
    pub(super) faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    /// Parses the document, without looking at what its keys mean.
    pub(super) fn new(file: &'a Path, text: &'a str) -> Result<Self, Vec<Fault>> {
        let root = DeTable::parse(text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            let fix = match (error.message(), text.get(span.clone())) {
                ("duplicate key", _) => Some("keep one of the two".to_owned()),
                (message, Some(word)) if message.contains("must be quoted") => {
                    Some(format!("\"{word}\""))
                }
                _ => None,
            };
            vec![Fault::new(file, text, &span, error.message().to_owned()).or_fix(fix)]
        })?;
        let root = Spanned::new(root.span(), DeValue::Table(root.into_inner()));
        Ok(Self { file, text, root, bundle: None, faults: Vec::new() })
    }

    /// A mistake at the deepest part of `route` that is written.
    pub(super) fn fault(&self, route: &[Step<'_>], message: String) -> Fault {
        Fault::new(self.file, self.text, &self.find(route).0.span(), message)
    }

    /// A mistake in the table at `route`, at the first of its keys that the message names; `usual`
    /// has the defaults.
    pub(super) fn fault_named(
        &self,
        route: &[Step<'_>],
        message: String,
        usual: &toml::Table,
    ) -> Fault {
        let (table, _) = self.find(route);
        let words = message.split(|c: char| !(c.is_ascii_alphanumeric() || "_.".contains(c)));
        let named = words.filter(|word| !word.is_empty()).find_map(|word| {
            let mut keys = word.trim_matches('.').split('.');
            let value = keys.clone().try_fold(table, |at, key| at.get_ref().get(key))?;
            Some((keys.next().unwrap_or(word), value))
        });
        let fix = named.and_then(|(key, _)| default_line(usual, key));
        let span = named.map_or(table, |(_, value)| value).span();
        Fault::new(self.file, self.text, &span, message).or_fix(fix)
    }

    /// Notes a mistake, once.
    pub(super) fn note(&mut self, fault: Fault) {
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    /// Whether all of `route` is written.
    pub(super) fn has(&self, route: &[Step<'_>]) -> bool {
        self.find(route).1 == route.len()
    }

    /// How many items the array at `route` has.
    pub(super) fn n_items(&self, route: &[Step<'_>]) -> usize {
        let (value, depth) = self.find(route);
        let items = value.get_ref().as_array().filter(|_| depth == route.len());
        items.map_or(0, |items| items.len())
    }

    /// The deepest value of `route` that is written, and how many steps lead to it.
    fn find(&self, route: &[Step<'_>]) -> (&Value<'a>, usize) {
        let mut value = &self.root;
        for (depth, step) in route.iter().enumerate() {
            let next = match step {
                Step::Key(key) => value.get_ref().get(*key),
                Step::At(idx) => value.get_ref().get(*idx),
            };
            match next {
                Some(next) => value = next,
                None => return (value, depth),
            }
        }
        (value, route.len())
    }

    /// The value at `route`, if it is written.
    pub(super) fn value(&self, route: &[Step<'_>]) -> Option<Value<'a>> {
        let (value, depth) = self.find(route);
        (depth == route.len()).then(|| value.clone())
    }

    /// The value at `route` as a `T`; every mistake in it is noted.
    pub(super) fn parse<T: DeserializeOwned>(&mut self, route: &[Step<'_>]) -> Option<T> {
        let value = self.value(route)?;
        self.take(value, &toml::Table::new())
    }

    /// `value` as a `T`; every mistake in it is noted, with the default as a fix where there is one.
    ///
    /// The first mistake ends serde's work, so what is wrong is taken out and the rest looked at again.
    pub(super) fn take<T: DeserializeOwned>(
        &mut self,
        mut value: Value<'a>,
        defaults: &toml::Table,
    ) -> Option<T> {
        let mut taken_out: Vec<String> = Vec::new();
        for _ in 0..FAULTS_MAX {
            let error = match T::deserialize(ValueDeserializer::from(value.clone())) {
                Ok(parsed) => return taken_out.is_empty().then_some(parsed),
                Err(error) => error,
            };
            let message = error.message();
            if taken_out.iter().any(|key| message == format!("missing field `{key}`")) {
                return None;
            }
            let span = error.span().unwrap_or_else(|| value.span());
            let key = key_at(&value, &span);
            let message = match &key {
                Some(key) if !message.contains(" field `") => format!("{key}: {message}"),
                _ => message.to_owned(),
            };
            let usual = key.as_deref().and_then(|key| default_line(defaults, key));
            self.note(Fault::new(self.file, self.text, &span, message).or_fix(usual));
            taken_out.push(take_out(&mut value, &span)?);
        }
        None
    }

    /// A room's configuration: what is set further in laid over what is set further out.
    pub(super) fn room<T: DeserializeOwned + Default + Serialize>(
        &mut self,
        sections: &[&Section<T>],
        routes: &[Vec<Step<'_>>],
    ) -> Option<T> {
        let usual = defaults::<T>();
        let mut is_good = true;
        for value in routes.iter().filter_map(|route| self.value(route)).collect::<Vec<_>>() {
            is_good &= self.take::<T>(value, &usual).is_some();
        }
        if !is_good {
            return None;
        }
        let mut merged = toml::Table::new();
        for section in sections {
            overlay(&mut merged, &section.table);
        }
        match merged.try_into() {
            Ok(config) => Some(config),
            Err(error) => {
                let at = routes.last().map_or(&[][..], Vec::as_slice);
                self.note(self.fault(at, error.message().to_owned()));
                None
            }
        }
    }
}

/// A room's keys with their defaults; a key without one is left out.
pub(super) fn defaults<T: Default + Serialize>() -> toml::Table {
    toml::Table::try_from(T::default()).unwrap_or_default()
}

/// `key = value`, as it would be without the line; nothing where that says nothing.
pub(super) fn default_line(defaults: &toml::Table, key: &str) -> Option<String> {
    match defaults.get(key)? {
        toml::Value::Table(_) => None,
        toml::Value::String(text) if text.is_empty() => None,
        value => Some(format!("{key} = {value} (the default)")),
    }
}

/// The innermost key whose name or value stands at `span`.
fn key_at(value: &Value<'_>, span: &Range<usize>) -> Option<String> {
    let holds = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    match value.get_ref() {
        DeValue::Table(table) => table.iter().find_map(|(key, inner)| {
            let own = || holds(key.span()) || holds(inner.span());
            key_at(inner, span).or_else(|| own().then(|| key.get_ref().to_string()))
        }),
        DeValue::Array(items) => items.iter().find_map(|item| key_at(item, span)),
        _ => None,
    }
}

/// Takes the entry of the table that holds `span` out; its key.
fn take_out(value: &mut Value<'_>, span: &Range<usize>) -> Option<String> {
    let whole = value.span();
    let DeValue::Table(table) = value.get_mut() else { return None };
    let holds = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    let key = table
        .iter()
        .find(|(key, inner)| {
            holds(key.span())
                || (inner.span() != whole && (holds(inner.span()) || key_at(inner, span).is_some()))
        })
        .map(|(key, _)| key.get_ref().to_string())?;
    table.remove(key.as_str());
    Some(key)
}

/// Lays `over` on `under`, table by table.
fn overlay(under: &mut toml::Table, over: &toml::Table) {
    for (key, value) in over {
        match (under.get_mut(key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => overlay(below, above),
            _ => drop(under.insert(key.clone(), value.clone())),
        }
    }
}
