//! What outlives the process: alarm states and rows, changed whole or not at all.

use std::collections::{BTreeMap, BTreeSet};

use auscult::publish::{Ask, Watermark};
use auscult::store::{Change, Class, Core, EventId, NewRow, Rank, Row};
use auscult::types::Stamp;

/// One decision: asset and number of its transition.
pub(super) type Key = (u8, u32);

/// Its row on the disk and on the wire; the payload tells the decision.
pub(super) fn row(id: EventId, key: Key) -> NewRow {
    NewRow {
        id,
        life: EventId([key.0; 16]),
        class: Class::Alert,
        rank: Rank::Landmark,
        at: Stamp(0),
        topic: String::new(),
        payload: format!("{} {}", key.0, key.1).into_bytes(),
    }
}

/// The decision a payload tells.
pub(super) fn key(payload: &[u8]) -> Key {
    let text = std::str::from_utf8(payload).unwrap();
    let (asset, transition) = text.split_once(' ').unwrap();
    (asset.parse().unwrap(), transition.parse().unwrap())
}

/// A disk: the real store's tables in memory, or a simple model of them that is quicker.
pub(super) enum Disk {
    Real(Box<Core>),
    Model(Model),
}

#[derive(Default)]
pub(super) struct Model {
    states: BTreeMap<u8, u32>,
    rows: BTreeMap<u64, (Row, bool)>,
    acked: BTreeSet<EventId>,
    seq: u64,
}

/// One thing to change.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    /// Where the alarms of an asset stand.
    State(u8, u32),
    Add(EventId, Key),
    Clear(EventId),
    Park(EventId),
    Unpark,
}

impl Disk {
    pub(super) fn new(is_real: bool) -> Self {
        if is_real {
            return Self::Real(Box::new(Core::volatile(64 << 20, None).unwrap()));
        }
        Self::Model(Model::default())
    }

    pub(super) fn commit(&mut self, deeds: &[Deed]) {
        match self {
            Self::Real(core) => core.commit(&deeds.iter().map(change).collect::<Vec<_>>()).unwrap(),
            Self::Model(model) => deeds.iter().for_each(|deed| model.apply(deed)),
        }
    }

    /// How many transitions of an asset were decided.
    pub(super) fn state(&self, asset: u8) -> u32 {
        match self {
            Self::Model(model) => model.states.get(&asset).copied().unwrap_or(0),
            Self::Real(core) => {
                let bytes = core.memory(&asset.to_string()).unwrap();
                bytes.map_or(0, |bytes| u32::from_le_bytes(bytes.try_into().unwrap()))
            }
        }
    }

    pub(super) fn due(&mut self, ask: Ask) -> Vec<Row> {
        match self {
            Self::Real(core) => core.due(ask.after, ask.limit).unwrap(),
            Self::Model(model) => {
                let due = model.rows.range(ask.after[0] + 1..).filter(|(_, row)| !row.1);
                due.take(ask.limit).map(|(_, (row, _))| row.clone()).collect()
            }
        }
    }

    pub(super) fn watermark(&self, version: u64) -> Watermark {
        let rows = match self {
            Self::Real(core) => core.counts().rows[0] - core.counts().parked,
            Self::Model(model) => model.rows.values().filter(|row| !row.1).count() as u64,
        };
        Watermark { version, rows }
    }

    /// Rows kept, parked ones too.
    pub(super) fn n_rows(&self) -> u64 {
        match self {
            Self::Real(core) => core.counts().rows[0],
            Self::Model(model) => model.rows.len() as u64,
        }
    }
}

fn change(deed: &Deed) -> Change {
    match deed {
        Deed::State(asset, n) => {
            Change::Memory { asset: asset.to_string(), bytes: n.to_le_bytes().to_vec() }
        }
        Deed::Add(id, key) => Change::Row(row(*id, *key)),
        Deed::Clear(id) => Change::Acked(*id),
        Deed::Park(id) => Change::Park(*id),
        Deed::Unpark => Change::Unpark,
    }
}

impl Model {
    fn apply(&mut self, deed: &Deed) {
        match deed {
            Deed::State(asset, n) => drop(self.states.insert(*asset, *n)),
            Deed::Add(id, key) => {
                let is_known =
                    self.acked.contains(id) || self.rows.values().any(|it| it.0.id == *id);
                if !is_known {
                    self.seq += 1;
                    let NewRow { id, class, topic, payload, .. } = row(*id, *key);
                    self.rows.insert(
                        self.seq,
                        (Row { seq: self.seq, id, class, topic, payload }, false),
                    );
                }
            }
            Deed::Clear(id) => {
                let n_before = self.rows.len();
                self.rows.retain(|_, (row, _)| row.id != *id);
                if self.rows.len() < n_before {
                    self.acked.insert(*id);
                }
            }
            Deed::Park(id) => self.rows.values_mut().for_each(|it| it.1 |= it.0.id == *id),
            Deed::Unpark => self.rows.values_mut().for_each(|it| it.1 = false),
        }
    }
}
