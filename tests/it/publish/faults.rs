//! Alerts through a bad network: each arrives, whole and once by id, when the network is well again.

use std::time::Duration;

use auscult::publish::{AckLevel, Config, State};

use super::by_id;
use super::rig::{Rig, alert, config, field};
use super::tls::Pki;
use crate::broker::{Broker, Listener, has_mosquitto, publish, wait_for};
use crate::rig::{Acks, Faults, Proxy};

/// Base of the box's topics.
const BASE: &str = "auscult/v1/works/box-1";

/// Impatient, so that the tests are quick.
fn quick(port: u16) -> Config {
    Config { ack_timeout_s: 2, connect_timeout_s: 2, retry_max_s: 1, ..config(port) }
}

/// A box, the bad network, the broker and someone who listens on the broker's side of it.
struct Scene {
    rig: Rig,
    proxy: Proxy,
    listener: Listener,
    broker: Broker,
}

impl Scene {
    /// With the network well; `None` without a broker.
    fn new(change: impl FnOnce(&mut Config)) -> Option<Self> {
        if !has_mosquitto() {
            return None;
        }
        let broker = Broker::start("");
        let proxy = Proxy::to(broker.port);
        let listener = Listener::new(&broker, "auscult/#");
        let mut config = quick(proxy.port);
        change(&mut config);
        let rig = Rig::start(&config);
        rig.wait_state(State::Online);
        Some(Self { rig, proxy, listener, broker })
    }

    fn faults(&self, faults: Faults) {
        self.proxy.set(faults);
    }

    fn trouble(&self, what: &str) {
        let named = || self.rig.report().trouble.is_some_and(|why| why.contains(what));
        wait_for(what, named);
    }

    /// Episodes 1 to `n` are all there, each as it was raised; the outbox is empty.
    fn all_arrived(mut self, n: u32) {
        self.rig.wait_empty();
        self.whole(n);
        self.rig.stop();
    }

    fn whole(&mut self, n: u32) {
        wait_for("every alert", || by_id(&mut self.listener).len() >= n as usize);
        assert_eq!(by_id(&mut self.listener).len(), n as usize, "none invented");
        for got in self.listener.got.iter().filter(|got| got.topic.ends_with("/fan/alert")) {
            let episode: u32 = field(&got.payload, "episode").parse().unwrap();
            assert_eq!(field(&got.payload, "message"), alert(episode).message);
        }
    }
}

#[test]
fn a_link_that_is_half_open_is_left_and_its_rows_sent_again() {
    let Some(scene) = Scene::new(|_| {}) else { return };
    scene.faults(Faults { stall: true, ..Faults::default() });
    scene.rig.alerts(1..=20);
    scene.trouble("ack_timeout_s");
    assert_eq!(scene.rig.rows(), 20, "nothing was acknowledged, nothing is cleared");
    scene.faults(Faults::default());
    scene.all_arrived(20);
}

#[test]
fn a_dead_link_with_nothing_to_say_is_noticed_by_its_silence() {
    let Some(scene) = Scene::new(|config| config.keep_alive_s = 5) else { return };
    scene.faults(Faults { stall: true, ..Faults::default() });
    wait_for("the silence", || scene.rig.report().trouble.is_some());
    scene.rig.alerts(1..=3);
    scene.faults(Faults::default());
    scene.all_arrived(3);
}

#[test]
fn a_slow_link_holds_no_more_than_the_window_and_telemetry_waits() {
    let Some(scene) = Scene::new(|config| (config.in_flight_max, config.ack_timeout_s) = (4, 20))
    else {
        return;
    };
    let latency = Duration::from_millis(20);
    scene.faults(Faults { latency, bytes_per_s: Some(60_000), ..Faults::default() });
    scene.rig.alerts(1..=60);
    wait_for("all of it kept", || scene.rig.kept().watermark.version > 1);
    scene.rig.wait_empty();
    // Beside the rows: the status, and a subscription that is acknowledged in another way.
    let passed = scene.proxy.passed();
    assert!(passed.n_in_flight_max <= 4 + 1, "{passed:?}");
    scene.all_arrived(60);
}

#[test]
fn connections_torn_again_and_again_cost_nothing() {
    let Some(scene) = Scene::new(|_| {}) else { return };
    for round in 0..6 {
        scene.rig.alerts(round * 20 + 1..=round * 20 + 20);
        let n_connected = scene.rig.report().n_connected;
        scene.proxy.tear();
        wait_for("a new connection", || scene.rig.report().n_connected > n_connected);
    }
    assert_eq!(scene.proxy.passed().n_open_max, 1, "one at a time");
    scene.all_arrived(120);
}

#[test]
fn acknowledgements_may_come_twice_and_in_any_order() {
    for acks in [Acks::Twice, Acks::Backwards, Acks::Strange] {
        let Some(scene) = Scene::new(|_| {}) else { return };
        scene.faults(Faults { acks, ..Faults::default() });
        scene.rig.alerts(1..=50);
        wait_for("bent acknowledgements", || scene.proxy.passed().n_bent > 0);
        if acks == Acks::Backwards {
            scene.rig.wait_empty();
        }
        // A client that is told nonsense may leave; what it was told before counts all the same.
        scene.faults(Faults::default());
        scene.all_arrived(50);
    }
}

#[test]
fn acknowledgements_lost_with_their_connection_clear_nothing() {
    let Some(scene) = Scene::new(|_| {}) else { return };
    scene.faults(Faults { acks: Acks::Hold, ..Faults::default() });
    scene.rig.alerts(1..=10);
    wait_for("they are on their way", || scene.proxy.passed().n_bent >= 10);
    assert_eq!(scene.rig.rows(), 10);
    scene.proxy.tear();
    scene.faults(Faults::default());
    scene.all_arrived(10);
}

#[test]
fn a_broker_that_lies_is_caught_by_the_fleets_silence() {
    let fleet = |config: &mut Config| (config.ack_level, config.resend_s) = (AckLevel::Fleet, 1);
    let Some(mut scene) = Scene::new(fleet) else { return };
    scene.faults(Faults { acks: Acks::Lie, ..Faults::default() });
    scene.rig.alerts(1..=10);
    wait_for("the lie", || scene.rig.report().n_acked >= 10);
    assert_eq!(scene.rig.rows(), 10, "the broker's word is not the fleet's");
    scene.faults(Faults::default());
    scene.whole(10);
    let received = format!("{BASE}/command/received");
    let confirm = |ids: &[String]| {
        publish(&scene.broker, &received, &serde_json::json!({ "ids": ids }).to_string(), false);
    };
    // The word for rows of another box changes nothing but a count.
    confirm(&["0f".repeat(16), "f0".repeat(16)]);
    wait_for("strange ids", || scene.rig.kept().counts.unknown_acks >= 2);
    assert_eq!(scene.rig.rows(), 10);
    let ids: Vec<String> = by_id(&mut scene.listener).into_keys().collect();
    confirm(&ids);
    confirm(&ids);
    scene.all_arrived(10);
}

#[test]
fn a_row_the_broker_will_not_have_is_put_aside_and_comes_back_on_request() {
    let Some(mut scene) = Scene::new(|_| {}) else { return };
    let poison = Some(b"(7)".to_vec());
    scene.faults(Faults { poison, ..Faults::default() });
    scene.rig.alerts(1..=20);
    wait_for("the one is parked", || scene.rig.kept().counts.parked == 1);
    wait_for("the others are through", || scene.rig.rows() == 1);
    wait_for("each of them", || by_id(&mut scene.listener).len() == 19);
    let n_torn = scene.proxy.passed().n_torn;
    assert!((5..=6).contains(&n_torn), "once in company, then five times alone: {n_torn}");
    scene.faults(Faults::default());
    publish(&scene.broker, &format!("{BASE}/command/retry"), r#"{"id":"1"}"#, false);
    scene.all_arrived(20);
}

#[test]
fn under_tls_no_wrong_byte_gets_through() {
    if !has_mosquitto() {
        return;
    }
    let pki = Pki::new();
    let (broker, port) = pki.broker();
    let proxy = Proxy::to(port);
    let listener = Listener::new(&broker, "auscult/#");
    let config = pki.config(proxy.port);
    let rig = Rig::start(&Config { ack_timeout_s: 2, retry_max_s: 1, ..config });
    rig.wait_state(State::Online);
    let scene = Scene { rig, proxy, listener, broker };
    scene.faults(Faults { flip_one_in: 4000, ..Faults::default() });
    scene.rig.alerts(1..=60);
    wait_for("wrong bytes", || scene.proxy.passed().n_flipped > 3);
    scene.faults(Faults::default());
    scene.all_arrived(60);
}

#[test]
fn one_attempt_at_a_time_even_when_nothing_answers() {
    let broker = crate::broker::free_port();
    let proxy = Proxy::to(broker);
    let rig = Rig::start(&quick(proxy.port));
    rig.alerts(1..=3);
    wait_for("some attempts", || rig.report().n_attempts >= 4);
    let (passed, report) = (proxy.passed(), rig.report());
    assert_eq!((passed.n_open_max, rig.rows()), (1, 3));
    assert!(passed.n_connections as u64 <= report.n_attempts + 1, "{passed:?} {report:?}");
    rig.stop();
}

#[test]
fn a_name_nobody_knows_holds_up_neither_the_alerts_nor_the_stop() {
    let rig = Rig::start(&Config { host: "no-such-broker.invalid".into(), ..quick(1883) });
    rig.alerts(1..=3);
    wait_for("the name is told", || {
        rig.report().trouble.is_some_and(|why| why.contains("no-such-broker.invalid"))
    });
    assert_eq!(rig.rows(), 3);
    rig.stop();
}
