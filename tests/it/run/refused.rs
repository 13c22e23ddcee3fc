//! A sensor whose samples cannot be used: told as the box's failure until they can.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use auscult::config::Config;
use auscult::daemon::keep::Recording;
use auscult::daemon::{Asset, Daemon, Machine, Sink, SystemClock};
use auscult::pipeline::{Memory, Tick};
use auscult::publish::ClockQuality;
use auscult::types::{Alert, Clock, Frame, Origin, Unit};

use super::config;
use crate::broker::{Broker, Listener, has_mosquitto, wait_for};
use crate::rig::Sender;

const RATE_HZ: u32 = 3200;
const TOLD: &str = "sensor motor-1/drive-end cannot be used: planted";

/// The plan of a motor, and its asset, whose sensor is refused when `is_refused` says so.
fn spoilt(
    folder: &std::path::Path,
    text: &str,
    clock: &Arc<dyn Clock>,
    is_refused: impl Fn(&Frame) -> bool + Send + 'static,
) -> (Config, Vec<Asset>) {
    let file = folder.join("auscult.toml");
    fs::write(&file, text).unwrap();
    let plan = Config::load(&file).unwrap();
    let mut machines = plan.machines(clock).unwrap();
    let ear = &mut machines[0].ears[0];
    let make = std::mem::replace(&mut ear.make_lane, Box::new(|_| unreachable!()));
    ear.make_lane =
        Box::new(
            move |frame| {
                if is_refused(frame) { Err("planted".to_owned()) } else { make(frame) }
            },
        );
    (plan, machines)
}

#[test]
fn a_sensor_whose_samples_are_refused_is_told_until_they_are_taken() {
    if !has_mosquitto() {
        return;
    }
    let (broker, sender) = (Broker::start(""), Sender::new(RATE_HZ, 1));
    let folder = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let is_refused = Arc::new(AtomicBool::new(true));
    let text = config(20, &sender.source(RATE_HZ), Some(&broker));
    let flag = Arc::clone(&is_refused);
    let (plan, machines) =
        spoilt(folder.path(), &text, &clock, move |_| flag.load(Ordering::Acquire));
    let mut status = Listener::new(&broker, "auscult/v1/lab/box-1/status");
    let office = plan.office(ClockQuality::FreeRunning, clock);
    let mut daemon = Daemon::start(office, machines, None).unwrap();
    let mut wait_told = |what: &str, is_told: bool| {
        wait_for(what, || {
            daemon.beat().unwrap();
            status.poll();
            let is_so = |text: &str| {
                [TOLD, r#""ne107":"failure""#].iter().all(|it| text.contains(it) == is_told)
            };
            status.got.drain(..).any(|got| is_so(&got.payload))
        });
    };
    wait_told("its samples are refused", true);
    is_refused.store(false, Ordering::Release);
    wait_told("its samples are taken", false);
    daemon.stop();
}

/// Who wants to know nothing.
struct Deaf;

impl Sink for Deaf {
    fn tick(&mut self, _: &Tick<'_>) {}
    fn alerts(&mut self, _: &Arc<str>, _: Vec<Alert>, _: Vec<u8>) {}
    fn learned(&mut self, _: &Arc<str>, _: Vec<u8>) {}
    fn recording(&mut self, _: Recording) -> bool {
        false
    }
}

#[test]
fn a_refusal_is_over_when_the_samples_are_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let text = config(20, super::WEARING, None);
    let (_, mut machines) = spoilt(folder.path(), &text, &clock, |frame| frame.rate_hz < 1000.0);
    let Asset { make_pipeline, mut ears, .. } = machines.remove(0);
    let lanes = vec![("drive-end".into(), ears.remove(0).make_lane)];
    let mut machine = Machine::new("motor-1", make_pipeline, lanes, Memory::default());
    for (rate_hz, n_refusals) in [(12_800.0, 0), (100.0, 1), (12_800.0, 0)] {
        let origin = Origin::new("motor-1", "drive-end");
        let mut frame = Frame::empty(origin, rate_hz, Unit::MetersPerSecond2, 1);
        frame.samples.resize(64, 0.0);
        machine.frame(0, &mut frame, &mut Deaf);
        let told: Vec<_> = machine.refusals().collect();
        assert_eq!(told, vec![TOLD; n_refusals], "{rate_hz} Hz");
    }
}
