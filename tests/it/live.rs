//! Live sources against the real drivers and sockets.
#![allow(clippy::disallowed_methods, reason = "these tests wait for real time to pass")]

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use auscult::acquire::{Config, Error, Read, SoundConfig, SoundFormat, Source, TcpConfig};
use auscult::daemon::SystemClock;
use auscult::daemon::capture::Item;
use auscult::types::{Clock, Frame, Origin, Quality, Unit};

use crate::rig::{Capture, Microphone, sample, tier};

const DEADLINE: Duration = Duration::from_secs(30);
const RATE_HZ: u32 = 48_000;

fn mic() -> SoundConfig {
    SoundConfig {
        device: "pcm:mic".to_owned(),
        rate_hz: RATE_HZ,
        period_ms: 10.0,
        format: SoundFormat::I16,
        ..SoundConfig::default()
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

fn origin() -> Origin {
    Origin::new("pump", "mic")
}

impl Capture {
    fn next(&mut self) -> Item {
        let start = Instant::now();
        loop {
            if let Some(item) = self.consumer.pop() {
                return item;
            }
            assert!(start.elapsed() < DEADLINE, "nothing came");
            self.woken.recv_timeout(Duration::from_millis(50)).ok();
        }
    }

    /// The next frame of samples; the notices and void frames before it are counted.
    fn frame(&mut self) -> (Frame, usize, usize) {
        let (mut n_lost, mut n_void) = (0, 0);
        loop {
            match self.next() {
                Item::Frame(frame) => return (frame, n_lost, n_void),
                Item::Lost(_) => n_lost += 1,
                Item::Void(frame) => {
                    assert!(frame.quality.is_blind());
                    n_void += 1;
                }
                Item::Opened(_) => {}
                Item::Ended(why) => panic!("a device never ends: {why:?}"),
            }
        }
    }
}

/// Checks that samples count up from `*next`, as the rig sends them.
fn counts_up(samples: &[f32], next: &mut u64) {
    for (k, value) in samples.iter().enumerate() {
        let expect = f32::from(sample(*next + k as u64)) / 32_768.0;
        assert_eq!(*value, expect, "sample {k} after {next}");
    }
    *next += samples.len() as u64;
}

/// All of ALSA in one test: its configuration belongs to the process, and so does the microphone.
#[test]
fn a_sound_card_is_heard_bit_by_bit_and_stall_end_and_return_are_noticed() {
    let mut card = Microphone::new(f64::from(RATE_HZ));
    what_it_cannot_do_is_refused();
    card.play(1.0);
    let mut line = Capture::new(Config::Sound(mic()), origin());
    let n_steady = (tier(1.0, 60.0, 600.0) * f64::from(RATE_HZ)) as u64;
    let mut next = 0;
    while next < n_steady {
        let (frame, n_lost, _) = line.frame();
        assert_eq!((n_lost, frame.n_lost, frame.quality), (0, 0, Quality::GOOD));
        assert_eq!(frame.origin.first_sample, next);
        counts_up(&frame.samples, &mut next);
        line.consumer.recycle(frame);
    }
    println!("{next} samples, none lost; {:?}", line.handle.counts());

    card.stall();
    until_void(&mut line);
    card.play(1.0);
    returns(&mut line);

    card.close();
    let closed = Instant::now();
    until_void(&mut line);
    println!("the end of the file was noticed within {:?}", closed.elapsed());
    card.play(1.0);
    returns(&mut line);
    line.close();
}

fn what_it_cannot_do_is_refused() {
    let check = |config: SoundConfig, expect: &str| {
        let error = config.open(clock()).err().unwrap();
        assert!(error.to_string().contains(expect), "{error}");
    };
    check(SoundConfig { device: "hw:0".to_owned(), ..mic() }, "no name that stays");
    check(SoundConfig { device: "pcm:tape".to_owned(), ..mic() }, "no such PCM");
    check(SoundConfig { device: "serial:X".to_owned(), ..mic() }, "not plugged in");
    check(SoundConfig { calibrate_from_name: true, ..mic() }, "carries no calibration");
    check(SoundConfig { unit: "bar".to_owned(), ..mic() }, "write m/s2, g, Pa, V or FS");
    let listed = auscult::acquire::devices();
    let mic = listed.iter().find(|device| device.identity == "pcm:mic").unwrap();
    assert!(mic.offer.as_ref().unwrap().formats.contains(&"i16".to_owned()), "{mic:?}");
}

/// Reads on until the sensor is lost and its time is void.
fn until_void(line: &mut Capture) {
    let mut is_lost = false;
    loop {
        match line.next() {
            Item::Lost(_) => is_lost = true,
            Item::Void(_) => {
                assert!(is_lost, "lost is said before time is void");
                return;
            }
            Item::Frame(frame) => line.consumer.recycle(frame),
            Item::Opened(_) => {}
            Item::Ended(why) => panic!("a device never ends: {why:?}"),
        }
    }
}

/// The sensor is back: one frame marked for the gap, then samples that count up again.
fn returns(line: &mut Capture) {
    let (first, ..) = line.frame();
    assert!(first.n_lost > 0 && first.quality.has(Quality::DROPOUT));
    let mut end = first.origin.first_sample + first.len() as u64;
    for _ in 0..5 {
        let (frame, ..) = line.frame();
        assert_eq!(frame.origin.first_sample, end + frame.n_lost);
        end = frame.origin.first_sample + frame.len() as u64;
        let steps = frame.samples.windows(2).map(|w| ((w[1] - w[0]) * 32_768.0) as i32);
        assert!(steps.into_iter().all(|step| step == 1 || step == -65_535));
    }
}

#[test]
fn live_sources_are_configured_by_their_keys_and_a_wrong_key_is_refused() {
    let check = |text: &str, expect: Option<(f64, usize, Unit)>| {
        let config: Config = toml::from_str(text).unwrap();
        assert_eq!(config.expect(), expect, "{text}");
        let again: Config = toml::from_str(&toml::to_string(&config).unwrap()).unwrap();
        assert_eq!(format!("{again:?}"), format!("{config:?}"));
    };
    let sound = "type = 'sound'\ndevice = 'serial:S1'\nchannels = 2\ncalibrate_from_name = true";
    check(sound, Some((48_000.0, 2, Unit::MetersPerSecond2)));
    let tcp = "type = 'tcp'\nrole = 'connect'\naddress = '127.0.0.1:9000'\nunit = 'g'";
    check(tcp, Some((25_600.0, 1, Unit::G)));
    check("type = 'iio'\ndevice = 'adxl372,bus=spi0.0'\nrate_hz = 6400.0", None);
    for wrong in ["type = 'sound'\nrate = 1", "type = 'iio'\nroot = '/x'", "type = 'tcp'\nport = 1"]
    {
        assert!(toml::from_str::<Config>(wrong).is_err(), "{wrong}");
    }
}

struct Sender(Child);

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The sender printed in the manual, as a reader would run it.
fn sender(port: u16) -> Option<Sender> {
    let manual = include_str!("../../docs/stream.md");
    let code = manual.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let mut python = Command::new("python3");
    python.args(["-c", code, "127.0.0.1", &port.to_string()]).stderr(Stdio::null());
    python.spawn().ok().map(Sender)
}

#[test]
fn the_sender_in_the_manual_is_heard_and_its_death_is_noticed() {
    let config = TcpConfig {
        address: ([127, 0, 0, 1], 0).into(),
        serial: "SN-0001".to_owned(),
        ..TcpConfig::default()
    };
    let mut tcp = config.open(clock()).unwrap();
    let Some(sender) = sender(tcp.local_addr().unwrap().port()) else {
        println!("skipped: no python3");
        return;
    };
    let mut frame = Frame::empty(origin(), 1.0, Unit::FullScale, 1);
    let mut got = Vec::new();
    let start = Instant::now();
    while got.len() < 10_240 {
        assert!(start.elapsed() < DEADLINE);
        if tcp.read(&mut frame).unwrap() == Read::Frame {
            assert_eq!(frame.origin.first_sample, got.len() as u64);
            got.extend_from_slice(&frame.samples);
        }
    }
    for (k, value) in got.iter().enumerate() {
        let expect = (std::f64::consts::TAU * 50.0 * k as f64 / 25_600.0).sin() as f32;
        assert!((value - expect).abs() < 1e-6, "sample {k}");
    }
    drop(sender);
    let error = loop {
        assert!(start.elapsed() < DEADLINE);
        match tcp.read(&mut frame) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Lost { .. }), "{error}");
}
