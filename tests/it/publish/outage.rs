//! A broker that goes and comes back, many boxes at once: how soon each box is there again, and how soon a
//! long backlog is at the fleet.

use std::time::{Duration, Instant};

use auscult::publish::{AckLevel, Config};

use super::rig::{Rig, config};
use super::{by_id, confirm};
use crate::broker::{Broker, Listener, has_mosquitto, wait_for};
use crate::rig::{Dice, Spread, tier};

/// Longest outage that counts as a short one, and the bars for both.
const SHORT_S: f64 = 60.0;
const SHORT_BAR: Duration = Duration::from_secs(5);
const LONG_BAR: Duration = Duration::from_secs(35);
const BACKLOG_BAR: Duration = Duration::from_mins(1);

/// One box and its broker, which is killed and comes back `n_outages` times after up to `most_s`; how long
/// after it listened an alert kept in the meantime was acknowledged.
fn outages(seed: u64, n_outages: u32, least_s: f64, most_s: f64) -> Vec<Duration> {
    let mut dice = Dice::new(seed);
    let mut broker = Broker::start("");
    let rig = Rig::start(&Config { retry_max_s: 30, ..config(broker.port) });
    rig.alerts(1..=1);
    rig.wait_empty();
    let outage = |n| {
        broker.kill();
        rig.alerts(n..=n);
        std::thread::sleep(Duration::from_secs_f64(dice.between(least_s, most_s)));
        broker.up();
        let (back, n_acked) = (Instant::now(), u64::from(n));
        wait_for("the alert is delivered", || rig.report().n_acked >= n_acked);
        let took = back.elapsed();
        // A connection that has just held is a good one: the next outage begins afresh.
        std::thread::sleep(Duration::from_secs_f64(dice.between(0.0, 2.0)));
        took
    };
    let all = (2..n_outages + 2).map(outage).collect();
    rig.stop();
    all
}

/// So many boxes at the same time.
fn boxes(n_boxes: u64, n_outages: u32, least_s: f64, most_s: f64) -> Spread {
    let mut all = Spread::default();
    std::thread::scope(|scope| {
        let run = |seed| scope.spawn(move || outages(seed, n_outages, least_s, most_s));
        let boxes: Vec<_> = (1..=n_boxes).map(run).collect();
        boxes.into_iter().flat_map(|it| it.join().unwrap()).for_each(|took| all.add(took));
    });
    all
}

#[test]
fn a_broker_that_comes_back_has_the_alerts_soon() {
    if !has_mosquitto() {
        return;
    }
    let (n_boxes, n_outages, most_s) = tier((2, 2, 1.0), (10, 10, 2.0), (50, 20, SHORT_S));
    boxes(n_boxes, n_outages, 0.0, most_s)
        .judge("broker back after a minute at the most, to the first alert there", SHORT_BAR);
    if tier(false, false, true) {
        boxes(n_boxes, 2, SHORT_S, 2.0 * SHORT_S)
            .judge("broker back after one to two minutes, to the first alert there", LONG_BAR);
    }
}

#[test]
fn a_long_backlog_is_at_the_fleet_within_a_minute() {
    if !has_mosquitto() {
        return;
    }
    let n_alerts = tier(500, 2000, 10_000);
    let mut broker = Broker::away("");
    let rig = Rig::start(&Config { ack_level: AckLevel::Fleet, ..config(broker.port) });
    rig.alerts(1..=n_alerts);
    wait_for("all kept", || rig.rows() == u64::from(n_alerts));
    broker.up();
    let mut took = Spread::default();
    let (back, mut n_confirmed) = (Instant::now(), 0);
    let mut listener = Listener::new(&broker, "auscult/v1/+/+/fan/alert");
    wait_for("all of them known to the fleet", || {
        n_confirmed = confirm(&broker, &mut listener, n_confirmed);
        rig.rows() == 0
    });
    took.add(back.elapsed());
    assert_eq!(by_id(&mut listener).len(), n_alerts as usize);
    took.judge(
        &format!("{n_alerts} alerts waiting, to the fleet's word for the last"),
        BACKLOG_BAR,
    );
    rig.stop();
}
