//! JSON as published, built by hand from the nouns and versioned; never a NaN.

mod alert;
mod status;

use serde::{Serialize, Serializer};

use crate::types::Reply;

pub use alert::{alert, alert_row, alert_schema};
pub use status::{Counter, Queue, Status, features, last_will, state, status};

/// Longest text taken from a noun into a payload, bytes; the rest is cut.
const TEXT_BYTES_MAX: usize = 2000;

/// A number as published: six significant digits carry all that was measured, and what is not
/// finite is `null`.
#[derive(Clone, Copy, Debug, PartialEq, schemars::JsonSchema)]
#[schemars(transparent)]
struct Number(Option<f64>);

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self(value.is_finite().then_some(value))
    }
}

impl From<Option<f64>> for Number {
    fn from(value: Option<f64>) -> Self {
        Self(value.filter(|value| value.is_finite()))
    }
}

impl Number {
    /// `reason` if there is no number.
    fn or_reason(self, reason: &'static str) -> Option<&'static str> {
        self.0.is_none().then_some(reason)
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            None => serializer.serialize_none(),
            Some(value) => {
                let short: f64 = format!("{value:.5e}").parse().unwrap_or(value);
                serializer.serialize_f64(short)
            }
        }
    }
}

/// At most [`TEXT_BYTES_MAX`] bytes, cut between characters.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

fn bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("payloads hold only texts, lists and finite numbers")
}

/// The answer to a command, for `.../reply`.
pub fn reply(reply: &Reply) -> Vec<u8> {
    #[derive(Serialize)]
    struct Payload<'a> {
        schema: &'static str,
        id: &'a str,
        done: bool,
        message: &'a str,
    }
    let Reply { id, done, message } = reply;
    bytes(&Payload { schema: "auscult.reply/1", id: cut(id), done: *done, message: cut(message) })
}

#[cfg(test)]
mod tests;
