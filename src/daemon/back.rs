//! What stands behind `compute`: the disk and the network, started and stopped together.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::watch;

use super::keep::{Keep, KeepReport, Keeper, Vault};
use super::network::{Network, NetworkReport, Ordered, Parts, Teller, teller};
use crate::pipeline::Memory;
use crate::publish::{self, Identity, Status};
use crate::store::{self, Baselines};
use crate::types::Clock;

/// Commands that wait for `compute`, at the most.
const ORDERS_MAX: usize = 64;

/// Why the box cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot be used: another instance, a newer version, a folder that is not ours.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The system gives no thread.
    #[error("no thread: {0}")]
    Thread(#[from] io::Error),
}

/// Who we are and where things go.
#[derive(Clone)]
pub struct Office {
    /// What every payload says of its sender; its epoch becomes the store's.
    pub identity: Identity,
    /// Where things are kept.
    pub store: store::Config,
    /// Where the broker is.
    pub mqtt: publish::Config,
    /// The assets' identifiers.
    pub assets: Vec<String>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// The ends that `compute` holds.
pub struct Front {
    /// The way to the disk.
    pub keeper: Keeper,
    /// The way to the network.
    pub teller: Teller,
    /// Orders from people.
    pub orders: Receiver<Ordered>,
    /// What is remembered of each asset, in their order.
    pub memories: Vec<Memory>,
}

/// The two threads behind.
pub struct Back {
    keep: JoinHandle<()>,
    network: JoinHandle<io::Result<()>>,
    network_turns: Arc<AtomicU64>,
    stop: watch::Sender<bool>,
    status: watch::Sender<Status>,
    keep_report: watch::Receiver<KeepReport>,
    network_report: watch::Receiver<NetworkReport>,
}

impl Back {
    /// Opens the store and starts the two threads.
    ///
    /// # Errors
    /// If the store cannot be used or there is no thread to be had. A full disk and an absent broker
    /// are no errors: both are lived with.
    ///
    /// # Panics
    /// Never: an epoch has 16 bytes.
    pub fn start(office: Office) -> Result<(Self, Front), Error> {
        let Office { identity, store, mqtt, assets, clock } = office;
        let mut vault = Vault::open(&store)?;
        if let Some(salvage) = vault.take_salvage() {
            tracing::error!(?salvage, "the store was damaged: what was whole is kept");
        }
        let mut is_lost = false;
        let memories =
            assets.iter().map(|asset| recall(&store, &vault, asset, &mut is_lost)).collect();
        if is_lost {
            // Alarms that begin anew count their episodes anew: their ids must not be taken for old ones.
            vault.renew();
        }
        let epoch = vault.epoch();
        let identity = Identity { epoch, ..identity };
        let (keep, keeper, ends) = Keep::new(&store, vault, identity.clone(), Arc::clone(&clock))?;
        let (teller, outward) = teller(mqtt.features_every_s);
        let (orders_in, orders) = sync_channel(ORDERS_MAX);
        let (stop, stop_end) = watch::channel(false);
        let (status, status_end) = watch::channel(Status::default());
        let keep_report = ends.report.clone();
        let seed = u64::from_le_bytes(epoch.0[..8].try_into().expect("an epoch has 16 bytes"));
        let (network, network_report) = Network::new(Parts {
            config: mqtt,
            identity,
            assets,
            keeper: keeper.clone(),
            ends,
            outward,
            orders: orders_in,
            status: status_end,
            stop: stop_end,
            clock,
            seed,
        });
        let network_turns = network.turns();
        let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let keep = named("keep").spawn(move || keep.run())?;
        let network = named("network").spawn(move || network.run())?;
        let back = Self { keep, network, network_turns, stop, status, keep_report, network_report };
        Ok((back, Front { keeper, teller, orders, memories }))
    }

    /// How the store is doing.
    pub fn kept(&self) -> KeepReport {
        self.keep_report.borrow().clone()
    }

    /// How the network is doing.
    pub fn network(&self) -> NetworkReport {
        self.network_report.borrow().clone()
    }

    /// Turns of the network's loop since the start.
    pub fn network_turns(&self) -> u64 {
        self.network_turns.load(Ordering::Relaxed)
    }

    /// Publishes the box's own status.
    pub fn tell(&self, status: Status) {
        self.status.send_replace(status);
    }

    /// Whether one of the threads has ended by itself, which is a bug.
    pub fn is_broken(&self) -> bool {
        self.keep.is_finished() || self.network.is_finished()
    }

    /// After `compute` let go of its ends: sends what can be sent, keeps the rest, ends.
    pub fn stop(self) {
        self.stop.send_replace(true);
        if !matches!(self.network.join(), Ok(Ok(()))) {
            tracing::error!("the network thread failed");
        }
        if self.keep.join().is_err() {
            tracing::error!("the store's thread failed");
        }
    }
}

/// What is remembered of an asset: what it learned, and where its alarms stood, which is newer;
/// `is_lost` is set if the latter cannot be read.
fn recall(store: &store::Config, vault: &Vault, asset: &str, is_lost: &mut bool) -> Memory {
    let learned = Baselines::open(&store.dir).and_then(|baselines| baselines.load(asset));
    let mut memory: Memory = match learned {
        Ok(Some((bytes, _))) => read(&bytes, asset, "what was learned").unwrap_or_default(),
        Ok(None) => Memory::default(),
        Err(error) => {
            tracing::error!(asset, %error, "what was learned is lost: it learns anew");
            Memory::default()
        }
    };
    match vault.memory(asset) {
        Ok(Some(bytes)) => {
            let alarms = read(&bytes, asset, "where the alarms stood");
            *is_lost |= alarms.is_none();
            memory.alarms = alarms.unwrap_or_default();
        }
        Ok(None) => {}
        Err(error) => {
            *is_lost = true;
            tracing::error!(asset, %error, "the alarms begin anew");
        }
    }
    memory
}

fn read<T: serde::de::DeserializeOwned>(bytes: &[u8], asset: &str, what: &str) -> Option<T> {
    let read = serde_json::from_slice(bytes);
    if let Err(error) = &read {
        tracing::error!(asset, what, %error, "of another version: begins anew");
    }
    read.ok()
}
