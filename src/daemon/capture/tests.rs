//! The capture thread against scripted sources.
#![allow(clippy::disallowed_methods, reason = "deadlines are in real time")]

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use super::*;
use crate::daemon::SystemClock;

const DEADLINE: Duration = Duration::from_secs(10);

/// What a scripted source does on one `read`.
enum Act {
    /// Gives so many samples after so many lost ones.
    Give(u64, u64),
    Quiet,
    Fail,
    End,
}

/// A source that counts its samples, by a script; an empty script is quiet.
struct Script {
    info: Info,
    acts: VecDeque<Act>,
    next: u64,
    /// Told after every frame given.
    given: Option<SyncSender<()>>,
}

impl Script {
    fn new(live: bool, acts: Vec<Act>) -> Self {
        let info = Info {
            identity: "script".to_owned(),
            rate_hz: 1000.0,
            n_channels: 1,
            unit: Unit::G,
            snapshot_samples: None,
            live,
        };
        Self { info, acts: acts.into(), next: 0, given: None }
    }
}

impl Source for Script {
    fn info(&self) -> &Info {
        &self.info
    }

    fn read(&mut self, frame: &mut Frame) -> Result<Read, Error> {
        match self.acts.pop_front() {
            Some(Act::Give(n_lost, n)) => {
                frame.samples.clear();
                frame.samples.extend((0..n).map(|k| k as f32));
                frame.quality = Quality::GOOD;
                frame.n_lost = n_lost;
                frame.origin.first_sample = self.next + n_lost;
                frame.origin.n_samples = n;
                self.next += n_lost + n;
                if let Some(given) = &self.given {
                    given.send(()).unwrap();
                }
                Ok(Read::Frame)
            }
            Some(Act::Fail) => {
                Err(Error::Lost { what: "script".to_owned(), why: "unplugged".to_owned() })
            }
            Some(Act::End) => Ok(Read::End),
            Some(Act::Quiet) | None => {
                std::thread::park_timeout(Duration::from_millis(1));
                Ok(Read::Quiet)
            }
        }
    }
}

fn settings(n_frames: usize, retry: bool) -> Settings {
    Settings { origin: Origin::new("pump", "de"), n_frames, retry, expect: None }
}

/// Starts capture over sources opened one after the other; the last one stays.
fn start(settings: Settings, sources: Vec<Script>) -> (Handle, Consumer, Receiver<()>) {
    let mut sources: VecDeque<Script> = sources.into();
    let (wake, woken) = sync_channel(1);
    let open = move || match sources.pop_front() {
        Some(source) => Ok(Box::new(source) as Box<dyn Source>),
        None => Err(Error::Lost { what: "script".to_owned(), why: "absent".to_owned() }),
    };
    let wake = move || {
        wake.try_send(()).ok();
    };
    let (handle, consumer) = spawn(settings, Arc::new(SystemClock::new()), open, wake).unwrap();
    (handle, consumer, woken)
}

/// The next item, waited for.
fn next(consumer: &mut Consumer, woken: &Receiver<()>) -> Item {
    let start = Instant::now();
    loop {
        if let Some(item) = consumer.pop() {
            return item;
        }
        assert!(start.elapsed() < DEADLINE, "nothing came");
        woken.recv_timeout(Duration::from_millis(20)).ok();
    }
}

fn adds_up(counts: &Counts) {
    assert_eq!(counts.produced, counts.delivered + counts.lost, "{counts:?}");
}

#[test]
fn a_recording_is_held_back_and_comes_whole_through_a_ring_of_one() {
    let acts = (0..200).map(|_| Act::Give(0, 10)).chain([Act::End]).collect();
    let (handle, mut consumer, woken) = start(settings(1, false), vec![Script::new(false, acts)]);
    assert!(matches!(next(&mut consumer, &woken), Item::Opened(_)));
    for k in 0..200 {
        let Item::Frame(frame) = next(&mut consumer, &woken) else { panic!("frame {k}") };
        assert_eq!((frame.origin.first_sample, frame.n_lost), (k * 10, 0));
        consumer.recycle(frame);
    }
    assert!(matches!(next(&mut consumer, &woken), Item::Ended(Ok(()))));
    handle.join().unwrap();
    assert!(consumer.is_closed());
    let counts = consumer.counts();
    assert_eq!((counts.produced, counts.lost, counts.state), (2000, 0, State::Ended));
}

#[test]
fn a_full_ring_drops_frames_of_a_device_counts_them_and_marks_the_gap() {
    let (given, n_given) = sync_channel(1000);
    let mut script = Script::new(true, (0..50).map(|_| Act::Give(1, 10)).collect());
    script.given = Some(given);
    let (handle, mut consumer, woken) = start(settings(4, true), vec![script]);
    for _ in 0..50 {
        n_given.recv_timeout(DEADLINE).unwrap();
    }
    handle.stop();
    handle.join().unwrap();
    assert!(matches!(next(&mut consumer, &woken), Item::Opened(_)));
    let mut n_frames = 0;
    let mut expect = 0;
    while let Some(item) = consumer.pop() {
        let Item::Frame(frame) = item else { continue };
        n_frames += 1;
        assert_eq!(frame.origin.first_sample, expect + frame.n_lost);
        assert!(frame.quality.has(Quality::DROPOUT));
        expect = frame.origin.first_sample + 10;
    }
    assert!((3..=5).contains(&n_frames), "{n_frames} of 4 places");
    let counts = consumer.counts();
    adds_up(&counts);
    assert_eq!(counts.produced, 50 * 11);
    assert_eq!(counts.delivered, n_frames * 10);
    assert_eq!(counts.frames_dropped, 50 - n_frames);
}

#[test]
fn what_was_dropped_is_told_with_the_next_frame_that_gets_through() {
    let (given, n_given) = sync_channel(0);
    let mut script = Script::new(true, (0..9).map(|_| Act::Give(0, 10)).collect());
    script.given = Some(given);
    let (handle, mut consumer, woken) = start(settings(2, true), vec![script]);
    // At the eighth receipt seven frames are dealt with: the notice took one place and the first
    // frame the other.
    for _ in 0..8 {
        n_given.recv_timeout(DEADLINE).unwrap();
    }
    assert!(matches!(next(&mut consumer, &woken), Item::Opened(_)));
    let Item::Frame(first) = next(&mut consumer, &woken) else { panic!("a frame") };
    assert_eq!((first.n_lost, first.len()), (0, 10));
    n_given.recv_timeout(DEADLINE).unwrap();
    let mut told = 10;
    while told < 90 {
        let Item::Frame(frame) = next(&mut consumer, &woken) else { panic!("a frame") };
        assert!((told > 10) ^ (frame.n_lost > 0 && frame.quality.has(Quality::DROPOUT)));
        told += frame.n_lost + 10;
    }
    assert_eq!(told, 90);
    handle.stop();
    handle.join().unwrap();
    adds_up(&consumer.counts());
}

#[test]
fn a_lost_device_gives_void_frames_is_opened_again_and_goes_on_counting() {
    let first = Script::new(true, vec![Act::Give(0, 10), Act::Fail]);
    let second = Script::new(true, vec![Act::Fail]);
    let third = Script::new(true, vec![Act::Give(0, 10), Act::Give(0, 10)]);
    let (handle, mut consumer, woken) = start(settings(64, true), vec![first, second, third]);
    let mut seen = Vec::new();
    let mut end = 0;
    let mut n_frames = 0;
    while n_frames < 3 {
        match next(&mut consumer, &woken) {
            Item::Opened(_) => seen.push("opened"),
            Item::Lost(why) => {
                assert!(why.contains("unplugged"));
                seen.push("lost");
            }
            Item::Frame(frame) => {
                assert!(frame.origin.first_sample >= end);
                assert_eq!(frame.origin.first_sample, end + frame.n_lost);
                assert_eq!(frame.quality.has(Quality::DROPOUT), n_frames == 1);
                end = frame.origin.first_sample + 10;
                n_frames += 1;
                seen.push("frame");
            }
            Item::Void(frame) => {
                assert!(frame.quality.is_blind() && frame.len() == 500);
                assert_eq!(frame.origin.first_sample, end);
                end += 500;
                seen.push("void");
            }
            Item::Ended(_) => panic!("a device never ends"),
        }
    }
    // 0.2 s and 0.4 s of back-off: one void frame of 0.5 s, or more on a busy box.
    let n_void = seen.iter().filter(|what| **what == "void").count() as u64;
    assert!(n_void >= 1);
    seen.retain(|what| *what != "void");
    assert_eq!(seen, ["opened", "frame", "lost", "opened", "opened", "frame", "frame"]);
    handle.stop();
    handle.join().unwrap();
    let counts = consumer.counts();
    adds_up(&counts);
    assert_eq!(
        (counts.delivered, counts.void, counts.opened, counts.failed),
        (30, 500 * n_void, 3, 2)
    );
}

#[test]
fn silence_is_seen_within_a_second_and_after_two_is_a_loss() {
    let mut acts: Vec<Act> = vec![Act::Give(0, 10)];
    acts.extend((0..2000).map(|_| Act::Quiet));
    let (handle, mut consumer, woken) = start(settings(64, true), vec![Script::new(true, acts)]);
    let start = Instant::now();
    while handle.counts().state != State::Silent {
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", handle.counts());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(start.elapsed() >= Duration::from_millis(500));
    let lost = loop {
        if let Item::Lost(why) = next(&mut consumer, &woken) {
            break why;
        }
    };
    assert!(lost.contains("no samples for 2.0 s"), "{lost}");
    assert!(start.elapsed() >= Duration::from_secs(2));
    assert!(matches!(next(&mut consumer, &woken), Item::Void(_)));
    assert_eq!(handle.counts().state, State::Lost);
    handle.stop();
    handle.join().unwrap();
}

#[test]
fn a_recording_that_fails_says_why_and_is_not_tried_again() {
    let (handle, mut consumer, woken) =
        start(settings(4, false), vec![Script::new(false, vec![Act::Fail])]);
    assert!(matches!(next(&mut consumer, &woken), Item::Opened(_)));
    let Item::Ended(Err(why)) = next(&mut consumer, &woken) else { panic!("ended") };
    assert_eq!(why, "script: unplugged");
    handle.join().unwrap();
}

#[test]
fn a_device_absent_from_the_start_is_blind_time_if_its_shape_is_known() {
    let settings =
        Settings { expect: Some((100.0, 3, Unit::MetersPerSecond2)), ..settings(8, true) };
    let (handle, mut consumer, woken) = start(settings, Vec::new());
    let Item::Lost(why) = next(&mut consumer, &woken) else { panic!("lost") };
    assert_eq!(why, "script: absent");
    let Item::Void(frame) = next(&mut consumer, &woken) else { panic!("void") };
    assert_eq!((frame.n_channels, frame.samples.len()), (3, 150));
    handle.stop();
    handle.join().unwrap();
    assert_eq!(consumer.counts().opened, 0);
}

#[test]
fn the_thread_ends_when_nobody_listens_any_more() {
    let (handle, consumer, _woken) = start(settings(1, true), vec![Script::new(true, Vec::new())]);
    drop(consumer);
    handle.join().unwrap();
}
