//! The store, whatever becomes of the disk: full, damaged or gone, alerts are kept on the next best
//! thing, and go back when they can.

use crate::store::{
    Ballast, Change, Config, Core, Counts, Epoch, Error, Opened, Row, Salvage, Shed,
};
use crate::types::Span;

/// Most that the stand-in in memory holds, bytes of payload.
const VOLATILE_BYTES_MAX: u64 = 4 << 20;

/// Failures in a row, each followed by opening the file anew, after which the disk is given up for
/// a while. A failed fsync is never tried again on the same file.
const FAILURES_MAX: u32 = 3;

/// Pace of the attempts to get back to the disk.
const RECOVER_EVERY: Span = Span(5_000_000_000);

/// Changes owed to a disk that does not take them, at the most.
const OWED_MAX: usize = 10_000;

/// Core store with its stand-in.
pub struct Vault {
    config: Config,
    disk: Option<Core>,
    volatile: Option<Core>,
    owed: Vec<Change>,
    ballast: Ballast,
    epoch: Option<Epoch>,
    /// Newest number given to a row: the network looks for rows behind it, whoever keeps them.
    last_seq: u64,
    has_ballast: bool,
    trouble: Option<String>,
    salvage: Option<Salvage>,
    tried_at: Span,
    n_forgotten: u64,
    shed_in_memory: Vec<Shed>,
}

impl Vault {
    /// Opens the store; a disk that is full or failing does not keep auscult from running.
    ///
    /// # Errors
    /// [`Error::Busy`] for a second instance, [`Error::Newer`], and a configuration or folder that
    /// cannot be used: where there never was a store, the folder is a mistake and not a failure.
    pub fn open(config: &Config) -> Result<Self, Error> {
        let ballast = Ballast::new(&config.dir, config.ballast_bytes);
        let opened = match Core::open(config) {
            Err(Error::DiskFull { .. }) if ballast.release() => {
                tracing::error!("the disk is full: the space held back is given up for alerts");
                Core::open(config)
            }
            opened => opened,
        };
        let mut vault = Self {
            config: config.clone(),
            disk: None,
            volatile: None,
            owed: Vec::new(),
            has_ballast: ballast.is_held(),
            ballast,
            epoch: None,
            last_seq: 0,
            trouble: None,
            salvage: None,
            tried_at: Span(0),
            n_forgotten: 0,
            shed_in_memory: Vec::new(),
        };
        match opened {
            Ok(opened) => {
                vault.take_up(opened);
                vault.hold_ballast();
            }
            Err(error @ (Error::DiskFull { .. } | Error::Io { .. }))
                if Core::is_at(&config.dir) || matches!(error, Error::DiskFull { .. }) =>
            {
                tracing::error!(%error, "alerts are kept in memory until the disk works again");
                vault.give_up_disk(&error)?;
            }
            Err(error) => return Err(error),
        }
        Ok(vault)
    }

    /// Part of every id.
    ///
    /// # Panics
    /// Never: an open vault has a store, on disk or in memory.
    pub fn epoch(&self) -> Epoch {
        self.epoch.expect("opened with a store")
    }

    /// Where every alarm of an asset stood when last kept; `None` if it never was, or if it was
    /// damaged, which is told by the error.
    ///
    /// # Errors
    /// [`Error::Corrupt`]: the asset's alarms begin anew.
    pub fn memory(&self, asset: &str) -> Result<Option<Vec<u8>>, Error> {
        match (&self.volatile, &self.disk) {
            (Some(core), _) | (None, Some(core)) => core.memory(asset),
            (None, None) => Ok(None),
        }
    }

    /// Begins a new life of the store: ids given from now on repeat none of before.
    pub fn renew(&mut self) {
        for core in [&mut self.disk, &mut self.volatile].into_iter().flatten() {
            match core.renew() {
                Ok(epoch) => self.epoch = Some(epoch),
                Err(error) => tracing::error!(%error, "ids may repeat older ones"),
            }
        }
    }

    /// What was saved of a damaged store, once.
    pub fn take_salvage(&mut self) -> Option<Salvage> {
        self.salvage.take()
    }

    /// Keeps changes, on disk or in memory.
    pub(super) fn commit(&mut self, changes: Vec<Change>, now: Span) {
        if self.volatile.is_none() {
            let Err(error) = self.commit_to_disk(&changes) else { return };
            tracing::error!(%error, "alerts are kept in memory until the disk works again");
            self.tried_at = now;
            if let Err(error) = self.give_up_disk(&error) {
                tracing::error!(%error, "no stand-in for the disk");
            }
        }
        self.commit_to_memory(changes);
    }

    /// The next rows to send: from the disk, then from its stand-in.
    pub(super) fn due(&mut self, after: [u64; 4], limit: usize) -> Vec<Row> {
        let (mut rows, mut damage) = (Vec::new(), None);
        for core in [&mut self.disk, &mut self.volatile].into_iter().flatten() {
            match core.due(after, limit - rows.len()) {
                Ok(more) => rows.extend(more),
                Err(error) => {
                    tracing::warn!(%error, "rows cannot be read");
                    self.trouble = Some(error.to_string());
                    damage = damage.or(Some(error));
                }
            }
        }
        if let (Some(Error::Corrupt { what, .. }), None) = (damage, &self.volatile)
            && let Err(error) = self.rebuild(&what)
        {
            tracing::error!(%error, "the store cannot be rebuilt");
        }
        rows
    }

    /// Tries, now and then, to get back from memory to disk and to hold the ballast again; whether
    /// it got back.
    pub(super) fn recover(&mut self, now: Span) -> bool {
        if now.0.saturating_sub(self.tried_at.0) < RECOVER_EVERY.0 {
            return false;
        }
        self.tried_at = now;
        let Some(mut volatile) = self.volatile.take() else {
            self.hold_ballast();
            return false;
        };
        let opened = if self.disk.is_some() { Ok(()) } else { self.reopen() };
        let back = opened.and_then(|()| {
            let mut changes = std::mem::take(&mut self.owed);
            changes.extend(volatile.export()?);
            let disk = self.disk.as_mut().expect("opened above");
            disk.number_after(volatile.last_seq());
            if disk.epoch() != volatile.epoch() && self.salvage.is_none() {
                // There was no disk at the start: where the alarms of its life stood is not known, and its
                // ids must not be given again.
                disk.go_on_in(volatile.epoch())?;
                self.epoch = Some(disk.epoch());
            }
            let done = disk.commit(&changes);
            if done.is_err() {
                changes.retain(|change| matches!(change, Change::Acked(_) | Change::Park(_)));
                self.owed = changes;
            }
            done
        });
        match back {
            Ok(()) => {
                tracing::info!("the disk works again: alerts are safe");
                self.trouble = None;
                self.shed_in_memory.extend(volatile.ledger().unwrap_or_default());
                true
            }
            Err(error) => {
                self.trouble = Some(error.to_string());
                self.volatile = Some(volatile);
                false
            }
        }
    }

    pub(super) fn is_durable(&self) -> bool {
        self.volatile.is_none()
    }

    /// What is wrong with the disk, one sentence each.
    pub(super) fn troubles(&self) -> Vec<String> {
        let mut troubles: Vec<String> = self.trouble.iter().cloned().collect();
        if !self.has_ballast {
            let mib = self.config.ballast_bytes.div_ceil(1 << 20);
            troubles
                .push(format!("the disk is full: the {mib} MiB held back for alerts are in use"));
        }
        if self.n_forgotten > 0 {
            troubles.push(format!("{} changes found no room, even in memory", self.n_forgotten));
        }
        troubles
    }

    pub(super) fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for core in [&self.disk, &self.volatile].into_iter().flatten() {
            let counts = core.counts();
            for class in 0..sum.rows.len() {
                sum.rows[class] += counts.rows[class];
                sum.bytes[class] += counts.bytes[class];
            }
            sum.parked += counts.parked;
            sum.unknown_acks += counts.unknown_acks;
        }
        sum
    }

    pub(super) fn fill(&self) -> f64 {
        [&self.disk, &self.volatile].into_iter().flatten().map(Core::fill).fold(0.0, f64::max)
    }

    /// What was given up, on disk and in memory.
    pub(super) fn ledger(&self) -> Vec<Shed> {
        let cores = [&self.disk, &self.volatile].into_iter().flatten();
        let now = cores.flat_map(|core| core.ledger().unwrap_or_default());
        now.chain(self.shed_in_memory.iter().cloned()).collect()
    }

    /// The ladder: free the ballast, open anew, open anew or rebuild what is damaged, give up.
    fn commit_to_disk(&mut self, changes: &[Change]) -> Result<(), Error> {
        for failure in 1.. {
            let Some(disk) = self.disk.as_mut() else { break };
            let Err(error) = disk.commit(changes) else {
                self.trouble = None;
                return Ok(());
            };
            tracing::warn!(%error, failure, "a batch is not on the disk yet");
            let is_full = matches!(error, Error::DiskFull { .. });
            if is_full && self.ballast.release() {
                tracing::error!("the disk is full: the space held back is given up for alerts");
                self.has_ballast = false;
                continue;
            }
            if is_full || failure >= FAILURES_MAX {
                return Err(error);
            }
            match error {
                Error::Corrupt { what, .. } if failure > 1 => self.rebuild(&what)?,
                _ => self.reopen()?,
            }
        }
        Err(Error::Io { path: self.config.dir.clone(), why: "the store is closed".into() })
    }

    fn hold_ballast(&mut self) {
        let had = std::mem::replace(&mut self.has_ballast, self.ballast.take());
        if had && !self.has_ballast {
            tracing::error!("the disk is nearly full: there is no room to hold back for alerts");
        }
    }

    fn reopen(&mut self) -> Result<(), Error> {
        self.let_go();
        self.take_up(Core::open(&self.config)?);
        Ok(())
    }

    /// For a store that opens and yet is no good.
    fn rebuild(&mut self, what: &str) -> Result<(), Error> {
        self.let_go();
        self.take_up(Core::rebuild(&self.config, what)?);
        Ok(())
    }

    /// Closes the disk's store.
    fn let_go(&mut self) {
        if let Some(disk) = self.disk.take() {
            self.last_seq = self.last_seq.max(disk.last_seq());
        }
    }

    fn take_up(&mut self, (mut core, opened): (Core, Opened)) {
        self.epoch = Some(core.epoch());
        core.number_after(self.last_seq);
        self.disk = Some(core);
        if let Some(salvage) = opened.salvage {
            tracing::error!(
                what = salvage.what,
                rows = salvage.rows,
                rows_damaged = salvage.rows_damaged,
                kept_as = %salvage.kept_as.display(),
                "the store was damaged and is rebuilt from what was whole"
            );
            self.salvage = Some(salvage);
        }
    }

    fn give_up_disk(&mut self, error: &Error) -> Result<(), Error> {
        self.trouble = Some(error.to_string());
        let mut volatile = Core::volatile(VOLATILE_BYTES_MAX, self.epoch)?;
        let last_seq = self.disk.as_ref().map_or(0, Core::last_seq).max(self.last_seq);
        volatile.number_after(last_seq);
        // A full disk can still be read and sent from; a failing one is let go of.
        if !matches!(error, Error::DiskFull { .. }) {
            self.let_go();
        }
        self.epoch = Some(volatile.epoch());
        self.volatile = Some(volatile);
        Ok(())
    }

    fn commit_to_memory(&mut self, changes: Vec<Change>) {
        let Some(volatile) = self.volatile.as_mut() else {
            self.n_forgotten += changes.len() as u64;
            return;
        };
        if let Err(error) = volatile.commit(&changes) {
            tracing::error!(%error, "the stand-in for the disk is full");
            self.n_forgotten += changes.len() as u64;
            return;
        }
        let is_owed = |change: &Change| matches!(change, Change::Acked(_) | Change::Park(_));
        let room = OWED_MAX - self.owed.len();
        self.owed.extend(changes.into_iter().filter(is_owed).take(room));
    }
}

#[cfg(test)]
mod tests;
