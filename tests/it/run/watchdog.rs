//! A signal path that hangs is not kept alive by a timer: systemd hears no more of us.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::sync_channel;

use auscult::config::Config;
use auscult::daemon::Daemon;
use auscult::publish::ClockQuality;
use auscult::types::{Clock, Span, Stamp};
use sd_notify::NotifyState;

use super::{WEARING, config};
use crate::broker::DEADLINE;

/// Seconds of the clock that the child goes through.
const SECONDS: usize = 60;

/// Folder that a child works in, and whether it feeds the watchdog by a timer.
const KEY: &str = "AUSCULT_TEST_WATCHDOG";
const TIMER: &str = "AUSCULT_TEST_WATCHDOG_TIMER";

/// A clock that goes on when it is told.
struct Stepped(AtomicI64);

impl Clock for Stepped {
    fn now(&self) -> Stamp {
        Stamp(self.0.load(Ordering::Acquire))
    }

    fn monotonic(&self) -> Span {
        Span(self.0.load(Ordering::Acquire))
    }
}

/// Body of a child: the signal path hangs from its first frame on.
#[test]
fn hang() {
    let Ok(dir) = std::env::var(KEY) else { return };
    let stepped = Arc::new(Stepped(AtomicI64::new(1)));
    let clock: Arc<dyn Clock> = stepped.clone();
    let plan = Config::load(&PathBuf::from(dir).join("auscult.toml")).unwrap();
    let mut machines = plan.machines(&clock).unwrap();
    let (entered, is_hung) = sync_channel(1);
    machines[0].ears[0].make_lane = Box::new(move |_| {
        entered.try_send(()).ok();
        loop {
            std::thread::park();
        }
    });
    let office = plan.office(ClockQuality::FreeRunning, clock);
    let mut daemon = Daemon::start(office, machines, None).unwrap();
    is_hung.recv_timeout(DEADLINE).unwrap();
    for _ in 0..SECONDS {
        stepped.0.fetch_add(1_000_000_000, Ordering::AcqRel);
        let beat = daemon.beat();
        if std::env::var_os(TIMER).is_some() {
            sd_notify::notify(&[NotifyState::Watchdog]).unwrap();
        } else if let Err(why) = beat {
            assert_eq!(why, "the signal path hangs");
            break;
        }
    }
    // As the program does on an error: without waiting for what hangs.
    std::process::exit(0);
}

/// How often the watchdog was fed by a child whose signal path hung all the time.
fn n_fed(dir: &Path, by_timer: bool) -> usize {
    let address = dir.join("notify");
    drop(std::fs::remove_file(&address));
    let socket = UnixDatagram::bind(&address).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["run::watchdog::hang", "--exact", "--nocapture"]).env("NOTIFY_SOCKET", &address);
    child.env(KEY, dir).stdout(Stdio::null()).stderr(Stdio::inherit());
    if by_timer {
        child.env(TIMER, "1");
    }
    let mut child = child.spawn().unwrap();
    let (mut n, mut message) = (0, [0; 256]);
    crate::broker::wait_for("the end of the child", || {
        let is_over = child.try_wait().unwrap();
        while let Ok(len) = socket.recv(&mut message) {
            n += usize::from(String::from_utf8_lossy(&message[..len]).contains("WATCHDOG=1"));
        }
        assert!(is_over.is_none_or(|status| status.success()));
        is_over.is_some()
    });
    n
}

#[test]
fn the_watchdog_is_fed_by_work_and_not_by_a_timer() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("auscult.toml");
    auscult::store::replace(&file, config(20, WEARING, None).as_bytes()).unwrap();
    // Half a minute after the hang systemd must hear nothing any more.
    let is_noticed = |n_fed: usize| n_fed > 0 && n_fed < 30;
    let n = n_fed(dir.path(), false);
    assert!(is_noticed(n), "fed {n} times");
    let n = n_fed(dir.path(), true);
    assert!(!is_noticed(n), "a watchdog fed by a timer goes unnoticed: {n}");
}
