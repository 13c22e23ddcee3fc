//! Alerts over a real broker: each once by id, whatever happens to the broker.

mod cable;
mod faults;
mod mixed;
mod outage;
pub(crate) mod rig;
mod sim;
mod tls;

use std::collections::BTreeMap;

use auscult::publish::{AckLevel, Config, State};
use auscult::types::Order;

use crate::broker::{Broker, Listener, has_mosquitto, publish, wait_for};
use crate::rig::tier;
use rig::{ORDERS_MAX, Rig, config, field};

/// How often each id came in on the alert topic.
fn by_id(listener: &mut Listener) -> BTreeMap<String, usize> {
    listener.poll();
    let mut count = BTreeMap::new();
    for got in listener.got.iter().filter(|got| got.topic.ends_with("/fan/alert")) {
        *count.entry(field(&got.payload, "id")).or_default() += 1;
    }
    count
}

#[test]
fn a_thousand_alerts_arrive_once_each_and_in_order() {
    if !has_mosquitto() {
        return;
    }
    let broker = Broker::start("");
    let mut listener = Listener::new(&broker, "auscult/#");
    let rig = Rig::start(&config(broker.port));
    rig.alerts(1..=1000);
    wait_for("a thousand ids", || by_id(&mut listener).len() == 1000);
    rig.wait_empty();
    assert!(by_id(&mut listener).values().all(|&n| n == 1), "each once");
    let alerts = listener.got.iter().filter(|got| got.topic.ends_with("/alert"));
    let episodes: Vec<_> = alerts.map(|got| field(&got.payload, "episode")).collect();
    let expect: Vec<_> = (1..=1000).map(|n: u32| n.to_string()).collect();
    assert_eq!(episodes, expect);
    rig.stop();
}

#[test]
fn a_broker_that_is_away_at_start_costs_nothing() {
    if !has_mosquitto() {
        return;
    }
    let mut broker = Broker::away("");
    let rig = Rig::start(&config(broker.port));
    rig.alerts(1..=50);
    wait_for("the trouble is named", || {
        rig.report().trouble.is_some_and(|why| why.contains("no broker listens"))
    });
    broker.up();
    let mut listener = Listener::new(&broker, "auscult/#");
    // Alerts sent before the subscriber was there are not for it; the store tells.
    rig.wait_empty();
    assert_eq!(rig.report().n_acked, 50);
    rig.alerts(51..=60);
    wait_for("the later ones", || by_id(&mut listener).len() >= 10);
    rig.stop();
}

/// The fleet manager says what came in since message `from`, repeats too; only then may rows leave the
/// disk. Gives where to go on.
fn confirm(broker: &Broker, listener: &mut Listener, from: usize) -> usize {
    let n_got = listener.poll();
    for some in listener.got[from..].chunks(200) {
        let ids: Vec<_> = some.iter().map(|got| field(&got.payload, "id")).collect();
        let list = serde_json::json!({ "ids": ids }).to_string();
        publish(broker, "auscult/v1/works/box-1/command/received", &list, false);
    }
    n_got
}

#[test]
fn nothing_is_lost_when_the_broker_is_hung_then_killed_again_and_again() {
    if !has_mosquitto() {
        return;
    }
    let mut broker = Broker::start("");
    let config = Config {
        ack_level: AckLevel::Fleet,
        resend_s: 1,
        ack_timeout_s: 2,
        retry_max_s: 1,
        ..config(broker.port)
    };
    let rig = Rig::start(&config);
    let mut listener = Listener::new(&broker, "auscult/v1/+/+/fan/alert");
    let n_rounds = tier(5, 100, 1000);
    let (mut n_sent, mut n_confirmed) = (0, 0);
    for round in 0..n_rounds {
        rig.alerts(n_sent + 1..=n_sent + 40);
        n_sent += 40;
        if round % 2 == 0 {
            broker.signal("STOP");
            rig.alerts(n_sent + 1..=n_sent + 10);
            n_sent += 10;
        }
        broker.kill();
        broker.up();
        n_confirmed = confirm(&broker, &mut listener, n_confirmed);
    }
    while by_id(&mut listener).len() < n_sent as usize || rig.rows() > 0 {
        let before = (listener.got.len(), rig.rows());
        wait_for("some more at the fleet: something is lost", || {
            n_confirmed = confirm(&broker, &mut listener, n_confirmed);
            (listener.got.len(), rig.rows()) != before
        });
    }
    assert_eq!(by_id(&mut listener).len(), n_sent as usize, "none invented");
    rig.stop();
}

#[test]
fn a_broker_that_hangs_is_left_and_the_alerts_sent_again() {
    if !has_mosquitto() {
        return;
    }
    let mut broker = Broker::start("");
    let rig = Rig::start(&Config { ack_timeout_s: 2, retry_max_s: 1, ..config(broker.port) });
    rig.wait_state(State::Online);
    broker.signal("STOP");
    rig.alerts(1..=5);
    wait_for("the connection is given up", || {
        rig.report().trouble.is_some_and(|why| why.contains("ack_timeout_s"))
    });
    assert_eq!(rig.rows(), 5);
    broker.kill();
    broker.up();
    rig.wait_empty();
    rig.stop();
}

#[test]
fn a_restart_of_the_box_sends_what_was_not_acknowledged() {
    if !has_mosquitto() {
        return;
    }
    let mut broker = Broker::away("");
    let config = config(broker.port);
    let mut rig = Rig::start(&config);
    rig.alerts(1..=20);
    wait_for("kept", || rig.rows() == 20);
    let dir = rig.stop();
    broker.up();
    let mut listener = Listener::new(&broker, "auscult/#");
    rig = Rig::start_in(dir, &config);
    // The same decisions made again after the restart: the same ids, no second row.
    rig.alerts(1..=20);
    wait_for("all twenty", || by_id(&mut listener).len() == 20);
    rig.wait_empty();
    assert!(by_id(&mut listener).values().all(|&n| n == 1));
    rig.stop();
}

#[test]
fn the_status_is_retained_and_the_last_will_tells_of_a_crash() {
    if !has_mosquitto() {
        return;
    }
    let broker = Broker::start("");
    let rig = Rig::start(&config(broker.port));
    let status = "auscult/v1/works/box-1/status";
    let online = |on: &'static str| {
        move |got: &crate::broker::Got| got.topic == status && field(&got.payload, "online") == on
    };
    let mut listener = Listener::new(&broker, "auscult/#");
    listener.wait("online", online("true"));
    rig.stop();
    let got = listener.wait("a proper leave", online("false"));
    assert!(got.payload.contains("stopped"));
    drop(listener);
    let mut listener = Listener::new(&broker, "auscult/#");
    assert!(listener.wait("retained", online("false")).is_retained);

    let mut child = rig::child("publish::rig::run_until_killed", broker.port);
    listener.wait("online again", online("true"));
    child.kill().unwrap();
    child.wait().unwrap();
    listener.wait("the last will", |got| online("false")(got) && got.payload.contains("lost"));
}

#[test]
fn states_are_retained_and_the_latest_wins() {
    if !has_mosquitto() {
        return;
    }
    let mut broker = Broker::away("");
    let mut rig = Rig::start(&config(broker.port));
    for health in [10.0, 20.0, 30.0] {
        rig.state(health);
    }
    broker.up();
    rig.wait_state(State::Online);
    let state = "auscult/v1/works/box-1/fan/state";
    let mut listener = Listener::new(&broker, state);
    let got = listener.wait("the state", |got| got.topic == state);
    assert_eq!(field(&got.payload, "health"), "30.0");
    rig.stop();
}

#[test]
fn commands_are_handed_on_and_answered() {
    if !has_mosquitto() {
        return;
    }
    let broker = Broker::start("");
    let mut rig = Rig::start(&config(broker.port));
    rig.wait_state(State::Online);
    let mut listener = Listener::new(&broker, "auscult/#");
    let topic = "auscult/v1/works/box-1/fan/command/ack";
    publish(&broker, topic, r#"{"id":"4711","by":"anna","reason":"seen"}"#, false);
    let ordered = rig.order();
    assert_eq!(ordered.command.order, Order::Ack { what: None });
    assert_eq!(ordered.command.by, "anna");
    let reply_to = format!("{topic}/reply");
    assert_eq!(ordered.reply_to, reply_to);
    rig.answer(ordered, true, "acknowledged");
    let reply = |id: &'static str| {
        let reply_to = reply_to.clone();
        move |got: &crate::broker::Got| got.topic == reply_to && field(&got.payload, "id") == id
    };
    let got = listener.wait("the answer", reply("4711"));
    assert_eq!(field(&got.payload, "done"), "true");
    publish(&broker, topic, r#"{"id":"4712","wrong":1}"#, false);
    let got =
        listener.wait("a refusal", |got| got.topic == reply_to && got.payload.contains("wrong"));
    assert_eq!(field(&got.payload, "done"), "false");
    publish(&broker, topic, "not json", false);
    listener.wait("another refusal", |got| got.payload.contains("not a command"));
    rig.stop();
}

#[test]
fn a_command_that_found_no_room_is_done_when_sent_again() {
    if !has_mosquitto() {
        return;
    }
    let broker = Broker::start("");
    let rig = Rig::start(&config(broker.port));
    rig.wait_state(State::Online);
    let mut listener = Listener::new(&broker, "auscult/#");
    let topic = "auscult/v1/works/box-1/fan/command/ack";
    let send = |id: u32| publish(&broker, topic, &format!(r#"{{"id":"{id}"}}"#), false);
    let busy = |got: &crate::broker::Got| got.payload.contains("too busy");
    (0..=ORDERS_MAX).for_each(send);
    let refused = field(&listener.wait("a refusal", busy).payload, "id");
    for _ in 0..ORDERS_MAX {
        assert_ne!(rig.order().command.id, refused);
    }
    send(refused.parse().unwrap());
    assert_eq!(rig.order().command.id, refused);
    rig.stop();
}

#[test]
fn a_huge_message_on_a_command_topic_does_not_stop_the_alerts() {
    if !has_mosquitto() {
        return;
    }
    let broker = Broker::start("");
    let topic = "auscult/v1/works/box-1/fan/command/ack";
    publish(&broker, topic, &"x".repeat(100_000), true);
    let rig = Rig::start(&config(broker.port));
    wait_for("it is refused", || rig.report().n_connected >= 2);
    rig.alerts(1..=20);
    rig.wait_empty();
    rig.stop();
}

#[test]
fn wrong_credentials_are_named_and_the_alerts_kept() {
    if !has_mosquitto() {
        return;
    }
    let broker = Broker::start("allow_anonymous false");
    let rig = Rig::start(&config(broker.port));
    rig.alerts(1..=3);
    wait_for("refused", || rig.report().trouble.is_some_and(|why| why.contains("refuses us")));
    assert_eq!((rig.rows(), rig.report().n_attempts), (3, 1), "no second try for a minute");
    rig.stop();
}
