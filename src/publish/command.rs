//! Commands as they come in from the broker: read, checked, paced, and never taken twice.

use std::collections::VecDeque;

use serde::Deserialize;

use super::check_name;
use crate::store::EventId;
use crate::types::{Command, Order, Reply, Span, Stamp, What};

/// Longest command taken, bytes.
const COMMAND_BYTES_MAX: usize = 16 << 10;

/// Longest id, reason or name in a command, bytes.
const TEXT_BYTES_MAX: usize = 256;

/// Ids one `received` may name.
const IDS_MAX: usize = 256;

/// Answers remembered, so that a command sent again gets the same one and is not done again.
const ANSWERS_MAX: usize = 64;

/// Longest time an alarm may be put aside.
const SHELVE_MAX: Span = Span(30 * 86_400_000_000_000);

/// What a message on a command topic turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// To be done by an asset's pipeline; the answer goes to `reply_to`.
    Order {
        /// The command.
        command: Command,
        /// Topic of the answer.
        reply_to: String,
    },
    /// The fleet manager has these alerts safely.
    Received(Vec<EventId>),
    /// Parked alerts are to be tried again.
    Retry {
        /// The answer.
        reply: Reply,
        /// Its topic.
        reply_to: String,
    },
    /// Answered on the spot: refused, or answered before.
    Answer {
        /// The answer.
        reply: Reply,
        /// Its topic.
        reply_to: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(default)]
    id: String,
    asset: Option<String>,
    what: Option<String>,
    for_min: Option<f64>,
    until_ms: Option<i64>,
    on: Option<bool>,
    seconds: Option<f64>,
    #[serde(default)]
    ids: Vec<String>,
    #[serde(default)]
    by: String,
    #[serde(default)]
    reason: String,
}

/// Reads commands; holds the pace and the answers given.
pub struct Commands {
    base: String,
    assets: Vec<String>,
    per_min: u32,
    tokens: f64,
    filled_at: Span,
    has_told_pace: bool,
    taken: VecDeque<Taken>,
}

/// A command handed on: an id counts for one verb of one asset.
struct Taken {
    asset: String,
    verb: &'static str,
    id: String,
    /// Once it is there.
    answer: Option<Reply>,
}

impl Taken {
    fn is(&self, asset: &str, verb: &str, id: &str) -> bool {
        self.asset == asset && self.verb == verb && self.id == id
    }
}

impl Commands {
    /// For the topics under `base` and these assets, at most `per_min` a minute.
    pub fn new(base: String, assets: Vec<String>, per_min: u32) -> Self {
        Self {
            base,
            assets,
            per_min,
            tokens: f64::from(per_min),
            filled_at: Span(0),
            has_told_pace: false,
            taken: VecDeque::with_capacity(ANSWERS_MAX),
        }
    }

    /// Topic filters to subscribe to.
    pub fn filters(&self) -> [String; 2] {
        [format!("{}/+/command/+", self.base), format!("{}/command/+", self.base)]
    }

    /// Reads one message; `None` if there is nothing to do or say.
    ///
    /// `is_retained`: the broker kept it from before; an old order is never carried out.
    /// `now`: monotonic; `at`: wall clock.
    pub fn take(
        &mut self,
        topic: &str,
        payload: &[u8],
        is_retained: bool,
        (now, at): (Span, Stamp),
    ) -> Option<Incoming> {
        let (asset, verb) = self.split(topic)?;
        let (asset, verb) = (asset.map(str::to_owned), verb.to_owned());
        let reply_to = format!("{topic}/reply");
        let answer = |id: &str, message: String| {
            let reply = Reply { id: id.into(), done: false, message };
            Some(Incoming::Answer { reply, reply_to: reply_to.clone() })
        };
        if payload.is_empty() {
            return None;
        }
        if payload.len() > COMMAND_BYTES_MAX {
            return answer("", format!("a command may have {COMMAND_BYTES_MAX} bytes at the most"));
        }
        let body: Body = match serde_json::from_slice(payload) {
            Ok(body) => body,
            Err(error) => return answer("", format!("not a command: {error}")),
        };
        if is_retained {
            return answer(&body.id, "refused: it was retained; send commands unretained".into());
        }
        if verb == "received" {
            return match received(&body.ids) {
                Ok(ids) => Some(Incoming::Received(ids)),
                Err(why) => answer(&body.id, why),
            };
        }
        if !self.has_token(now) {
            let is_first = !std::mem::replace(&mut self.has_told_pace, true);
            let why = format!("too many commands: {} a minute are taken", self.per_min);
            return if is_first { answer(&body.id, why) } else { None };
        }
        let meant = asset.as_deref().or(body.asset.as_deref()).unwrap_or_default();
        if let Some(taken) = self.taken.iter().find(|taken| taken.is(meant, &verb, &body.id)) {
            let reply = taken.answer.clone()?;
            return Some(Incoming::Answer { reply, reply_to });
        }
        match self.read(asset, &verb, &body, at) {
            Err(why) => answer(&body.id, why),
            Ok(None) => {
                let message = "parked alerts are tried again".into();
                let reply = Reply { id: body.id, done: true, message };
                Some(Incoming::Retry { reply, reply_to })
            }
            Ok(Some(command)) => {
                self.remember(&command);
                Some(Incoming::Order { command, reply_to })
            }
        }
    }

    /// Remembers the answer to a command, for when it is sent again.
    pub fn answered(&mut self, command: &Command, reply: &Reply) {
        let Command { asset, order, id, .. } = command;
        if let Some(taken) = self.taken.iter_mut().find(|it| it.is(asset, order.verb(), id)) {
            taken.answer = Some(reply.clone());
        }
    }

    /// Nothing was done of it: sent again, it is taken as new.
    pub fn refused(&mut self, command: &Command) {
        let Command { asset, order, id, .. } = command;
        self.taken.retain(|taken| !taken.is(asset, order.verb(), id));
    }

    /// Asset (none for the box) and verb of a topic.
    fn split<'t>(&self, topic: &'t str) -> Option<(Option<&'t str>, &'t str)> {
        let rest = topic.strip_prefix(&self.base)?.strip_prefix('/')?;
        let mut words = rest.split('/');
        match (words.next()?, words.next()?, words.next(), words.next()) {
            ("command", verb, None, None) => Some((None, verb)),
            (asset, "command", Some(verb), None) => Some((Some(asset), verb)),
            _ => None,
        }
    }

    /// A command, or `None` for `retry`, which concerns no asset.
    fn read(
        &self,
        asset: Option<String>,
        verb: &str,
        body: &Body,
        at: Stamp,
    ) -> Result<Option<Command>, String> {
        let texts = [&body.id, &body.by, &body.reason];
        if texts.iter().any(|text| text.len() > TEXT_BYTES_MAX) {
            return Err(format!("id, by and reason may have {TEXT_BYTES_MAX} bytes at the most"));
        }
        if body.id.is_empty() {
            return Err("a command needs an id, for example {\"id\": \"4711\"}".into());
        }
        if verb == "retry" && asset.is_none() {
            return Ok(None);
        }
        let order = order(verb, body, at)?;
        let asset = asset.or_else(|| body.asset.clone()).ok_or("which asset? set \"asset\"")?;
        check_name("asset", &asset).map_err(|error| error.why)?;
        if !self.assets.contains(&asset) {
            return Err(format!("no asset '{asset}' here"));
        }
        let (id, by, reason) = (body.id.clone(), body.by.clone(), body.reason.clone());
        Ok(Some(Command { id, asset, order, by, reason, at }))
    }

    fn has_token(&mut self, now: Span) -> bool {
        let most = f64::from(self.per_min);
        let since = Span(now.0.saturating_sub(self.filled_at.0)).as_secs().max(0.0);
        self.tokens = (self.tokens + since * most / 60.0).min(most);
        self.filled_at = now;
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        self.has_told_pace = false;
        true
    }

    fn remember(&mut self, command: &Command) {
        if self.taken.len() == ANSWERS_MAX {
            self.taken.pop_front();
        }
        let (asset, id) = (command.asset.clone(), command.id.clone());
        self.taken.push_back(Taken { asset, verb: command.order.verb(), id, answer: None });
    }
}

fn order(verb: &str, body: &Body, at: Stamp) -> Result<Order, String> {
    let what = body.what.as_deref().map(what).transpose()?;
    let on = || body.on.ok_or_else(|| format!("{verb} needs \"on\": true or false"));
    Ok(match verb {
        "ack" => Order::Ack { what },
        "shelve" => Order::Shelve { what, until: until(body, at)? },
        "unshelve" => Order::Unshelve { what },
        "suppress" => Order::Suppress { on: on()? },
        "out_of_service" => Order::OutOfService { on: on()? },
        "relearn" => Order::Relearn,
        "roll_back" => Order::RollBack,
        "clip" => {
            let seconds = body.seconds.unwrap_or(10.0);
            if !(1.0..=60.0).contains(&seconds) {
                return Err("clip needs \"seconds\" from 1 to 60".into());
            }
            Order::Clip { seconds }
        }
        _ => {
            let known = "ack, shelve, unshelve, suppress, out_of_service, relearn, roll_back, clip";
            return Err(format!("no command '{verb}'; there are {known}"));
        }
    })
}

fn until(body: &Body, at: Stamp) -> Result<Stamp, String> {
    let until = match (body.for_min, body.until_ms) {
        (Some(minutes), None) if minutes.is_finite() => at + Span::from_secs(minutes * 60.0),
        (None, Some(ms)) => Stamp::from_ms(ms),
        _ => return Err("shelve needs either \"for_min\" or \"until_ms\"".into()),
    };
    if until <= at || until - at > SHELVE_MAX {
        return Err("an alarm is shelved for some minutes up to 30 days".into());
    }
    Ok(until)
}

fn what(name: &str) -> Result<What, String> {
    [What::Anomaly, What::Severity, What::Fault, What::Trend, What::Sensor]
        .into_iter()
        .find(|what| what.name() == name)
        .ok_or_else(|| format!("no kind '{name}': anomaly, severity, fault, trend or sensor"))
}

fn received(ids: &[String]) -> Result<Vec<EventId>, String> {
    if ids.is_empty() || ids.len() > IDS_MAX {
        return Err(format!("received needs \"ids\", 1 to {IDS_MAX} of them"));
    }
    ids.iter().map(|id| id.parse::<EventId>().map_err(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Stamp = Stamp(1_000_000_000_000);

    fn commands() -> Commands {
        Commands::new("auscult/v1/s/g".into(), vec!["fan".into(), "mill".into()], 3)
    }

    fn taken(incoming: Option<Incoming>) -> Command {
        match incoming {
            Some(Incoming::Order { command, .. }) => command,
            other => panic!("{other:?}"),
        }
    }

    fn order(topic: &str, payload: &str) -> Result<Order, String> {
        match commands().take(topic, payload.as_bytes(), false, (Span(0), AT)) {
            Some(Incoming::Order { command, .. }) => Ok(command.order),
            Some(Incoming::Answer { reply, .. }) => Err(reply.message),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn orders_are_read_and_mistakes_answered() {
        let check = |topic: &str, payload: &str, expect: Result<Order, &str>| {
            let found = order(&format!("auscult/v1/s/g/{topic}"), payload);
            match (found, expect) {
                (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
                (found, expect) => assert_eq!(found, expect.map_err(str::to_owned)),
            }
        };
        let id = r#"{"id":"1"}"#;
        check("fan/command/ack", id, Ok(Order::Ack { what: None }));
        check(
            "fan/command/ack",
            r#"{"id":"1","what":"fault","by":"anna"}"#,
            Ok(Order::Ack { what: Some(What::Fault) }),
        );
        check("command/relearn", r#"{"id":"1","asset":"fan"}"#, Ok(Order::Relearn));
        check("fan/command/roll_back", r#"{"id":"1"}"#, Ok(Order::RollBack));
        let until = AT + Span::from_secs(1800.0);
        check(
            "fan/command/shelve",
            r#"{"id":"1","for_min":30}"#,
            Ok(Order::Shelve { what: None, until }),
        );
        check("fan/command/shelve", id, Err("for_min"));
        check("fan/command/shelve", r#"{"id":"1","until_ms":5}"#, Err("30 days"));
        check("fan/command/suppress", id, Err("\"on\""));
        check("fan/command/clip", r#"{"id":"1","seconds":1e9}"#, Err("1 to 60"));
        check("fan/command/explode", id, Err("no command 'explode'"));
        check("pump/command/ack", id, Err("no asset 'pump'"));
        check("command/ack", id, Err("which asset"));
        check("fan/command/ack", "{}", Err("needs an id"));
        check("fan/command/ack", r#"{"id":"1","extra":2}"#, Err("extra"));
        check("fan/command/ack", "\u{0}", Err("not a command"));
        check("fan/command/ack", &format!("{:20000}", 1), Err("16384 bytes"));
        check("fan/command/ack/reply", id, Err("None"));
    }

    #[test]
    fn a_command_sent_again_gets_the_same_answer_and_is_done_once() {
        let mut commands = commands();
        let topic = "auscult/v1/s/g/fan/command/ack";
        let take =
            |commands: &mut Commands| commands.take(topic, br#"{"id":"7"}"#, false, (Span(0), AT));
        let command = taken(take(&mut commands));
        assert_eq!(take(&mut commands), None, "still being done");
        let reply = Reply { id: "7".into(), done: true, message: "acknowledged".into() };
        commands.answered(&command, &reply);
        let reply_to = format!("{topic}/reply");
        assert_eq!(take(&mut commands), Some(Incoming::Answer { reply, reply_to }));
    }

    #[test]
    fn a_command_that_was_refused_can_be_sent_again() {
        let mut commands = commands();
        let take = |commands: &mut Commands| {
            let topic = "auscult/v1/s/g/fan/command/ack";
            taken(commands.take(topic, br#"{"id":"7"}"#, false, (Span(0), AT)))
        };
        let command = take(&mut commands);
        commands.refused(&command);
        assert_eq!(take(&mut commands), command);
    }

    #[test]
    fn an_id_counts_for_one_verb_of_one_asset() {
        let mut commands = Commands { per_min: 60, tokens: 60.0, ..commands() };
        let take = |commands: &mut Commands, topic: &str, payload: &str| {
            let topic = format!("auscult/v1/s/g/{topic}");
            commands.take(&topic, payload.as_bytes(), false, (Span(0), AT))
        };
        let id = r#"{"id":"1"}"#;
        let fan = taken(take(&mut commands, "fan/command/ack", id));
        let reply = Reply { id: "1".into(), done: true, message: "acknowledged".into() };
        commands.answered(&fan, &reply);
        assert_eq!(taken(take(&mut commands, "mill/command/ack", id)).asset, "mill");
        let unshelve = taken(take(&mut commands, "fan/command/unshelve", id));
        assert_eq!(unshelve.order, Order::Unshelve { what: None });
        // By the box's topic too.
        let mill = r#"{"id":"1","asset":"mill"}"#;
        assert_eq!(take(&mut commands, "command/ack", mill), None, "still being done");
        assert_eq!(taken(take(&mut commands, "command/relearn", mill)).asset, "mill");
        let fan = take(&mut commands, "command/ack", r#"{"id":"1","asset":"fan"}"#);
        assert!(matches!(fan, Some(Incoming::Answer { .. })), "{fan:?}");
    }

    #[test]
    fn the_pace_is_held_and_said_once() {
        let mut commands = commands();
        let mut take = |n: u32, secs: f64| {
            let payload = format!(r#"{{"id":"{n}"}}"#);
            let topic = "auscult/v1/s/g/fan/command/ack";
            commands.take(topic, payload.as_bytes(), false, (Span::from_secs(secs), AT))
        };
        for n in 0..3 {
            assert!(matches!(take(n, 0.0), Some(Incoming::Order { .. })));
        }
        assert!(matches!(take(3, 0.0), Some(Incoming::Answer { .. })));
        assert_eq!(take(4, 0.0), None);
        assert!(matches!(take(5, 20.0), Some(Incoming::Order { .. })), "one every 20 seconds");
    }

    #[test]
    fn retained_orders_are_not_carried_out_and_the_fleet_may_confirm() {
        let take = |topic: &str, payload: &str, retained| {
            commands().take(topic, payload.as_bytes(), retained, (Span(0), AT))
        };
        let old = take("auscult/v1/s/g/fan/command/ack", r#"{"id":"1"}"#, true);
        assert!(matches!(old, Some(Incoming::Answer { .. })));
        let ids = r#"{"ids":["00000000000000000000000000000001"]}"#;
        let mut id = [0; 16];
        id[15] = 1;
        assert_eq!(
            take("auscult/v1/s/g/command/received", ids, false),
            Some(Incoming::Received(vec![EventId(id)]))
        );
        let wrong = take("auscult/v1/s/g/command/received", r#"{"ids":["1"]}"#, false);
        assert!(matches!(wrong, Some(Incoming::Answer { .. })));
    }
}
