//! What may go wrong in the simulated world, and for how long.

use auscult::publish::Lost;
use auscult::types::Span;

use crate::rig::Dice;

/// A trouble that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nobody answers, the connection ends.
    Outage,
    /// Nothing moves on the connection, attempts get no answer.
    Stall,
    /// The password is refused.
    Refused,
    /// Acknowledgements take up to 20 seconds.
    SlowAcks,
    /// The client takes no row, mostly.
    ClientFull,
    /// The keeper takes no question, mostly.
    KeeperBusy,
    /// The disk does nothing.
    DiskStuck,
    /// The broker closes on what one machine has to say.
    Choosy,
}

/// One fault.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Crash,
    Tear {
        has_closed: bool,
    },
    BrokerCrash,
    /// The box sleeps; its clock goes on.
    Sleep {
        secs: f64,
    },
    Lasting(Trouble, f64),
    Over(Trouble),
}

impl Fault {
    pub(super) fn any(dice: &mut Dice) -> Self {
        // Most are short, some take hours.
        let secs = 10f64.powf(dice.unit() * 3.8);
        let few = secs.min(120.0);
        match dice.below(14) {
            0 | 1 => Self::Crash,
            2 | 3 => Self::Tear { has_closed: true },
            4 => Self::Tear { has_closed: false },
            5 => Self::BrokerCrash,
            6 => Self::Sleep { secs },
            7 => Self::Lasting(Trouble::Outage, secs),
            8 => Self::Lasting(Trouble::Stall, few),
            9 => Self::Lasting(Trouble::SlowAcks, few),
            10 => Self::Lasting(Trouble::ClientFull, few),
            11 => Self::Lasting(Trouble::KeeperBusy, few),
            12 => Self::Lasting(Trouble::Choosy, few),
            _ if dice.below(4) == 0 => Self::Lasting(Trouble::Refused, few),
            _ => Self::Lasting(Trouble::DiskStuck, few),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Crash => "a crash is due",
            Self::Tear { .. } => "tear",
            Self::BrokerCrash => "broker crash",
            Self::Sleep { .. } => "sleep",
            Self::Lasting(Trouble::Outage, _) => "outage",
            Self::Lasting(Trouble::Stall, _) => "stall",
            Self::Lasting(Trouble::Refused, _) => "refused",
            Self::Lasting(Trouble::SlowAcks, _) => "slow acknowledgements",
            Self::Lasting(Trouble::ClientFull, _) => "client full",
            Self::Lasting(Trouble::KeeperBusy, _) => "keeper busy",
            Self::Lasting(Trouble::DiskStuck, _) => "disk stuck",
            Self::Lasting(Trouble::Choosy, _) => "choosy broker",
            Self::Over(_) => "a trouble ends",
        }
    }
}

/// What is wrong now.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    outage_until: Span,
    pub(super) stall_until: Span,
    refused_until: Span,
    slow_acks_until: Span,
    choosy_until: Span,
    pub(super) are_over: bool,
    pub(super) disk_stuck_until: Span,
    /// Share of rows the client does not take.
    pub(super) client_full: f64,
    /// Share of questions the keeper does not take.
    pub(super) keeper_busy: f64,
    /// From when to when nobody answered.
    pub(super) outages: Vec<(Span, Span)>,
}

impl Troubles {
    /// Whether the connection ends by it.
    pub(super) fn begin(&mut self, trouble: Trouble, now: Span, until: Span) -> bool {
        if trouble == Trouble::Outage {
            self.outages.push((now, until));
        }
        let longer = |at: &mut Span| *at = until.max(*at);
        match trouble {
            Trouble::Outage => longer(&mut self.outage_until),
            Trouble::Stall => longer(&mut self.stall_until),
            Trouble::Refused => longer(&mut self.refused_until),
            Trouble::SlowAcks => longer(&mut self.slow_acks_until),
            Trouble::Choosy => longer(&mut self.choosy_until),
            Trouble::DiskStuck => longer(&mut self.disk_stuck_until),
            Trouble::ClientFull => self.client_full = 0.7,
            Trouble::KeeperBusy => self.keeper_busy = 0.7,
        }
        matches!(trouble, Trouble::Outage | Trouble::Refused)
    }

    /// Whether the process dies just as the disk has done its work.
    pub(super) fn is_fatal(&self, dice: &mut Dice) -> bool {
        !self.are_over && dice.below(150) == 0
    }

    /// All is well; what was is remembered.
    pub(super) fn end_all(&mut self) {
        let outages = std::mem::take(&mut self.outages);
        *self = Self { outages, are_over: true, ..Self::default() };
    }

    pub(super) fn end(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::ClientFull => self.client_full = 0.0,
            Trouble::KeeperBusy => self.keeper_busy = 0.0,
            _ => {}
        }
    }

    /// What comes of an attempt now: all is well, nothing at all, or a reason.
    #[allow(clippy::option_option, reason = "no trouble, trouble without a word, trouble with one")]
    pub(super) fn connecting(&self, now: Span) -> Option<Option<Lost>> {
        if now < self.outage_until {
            return Some(Some(Lost::Unreachable("nobody there".into())));
        }
        if now < self.refused_until {
            return Some(Some(Lost::Refused("password".into())));
        }
        (now < self.stall_until).then_some(None)
    }

    pub(super) fn is_stalled(&self, now: Span) -> bool {
        now < self.stall_until
    }

    /// Whether the broker closes on a row of this machine.
    pub(super) fn is_refused(&self, asset: u8, now: Span) -> bool {
        asset == 0 && now < self.choosy_until
    }

    pub(super) fn slow_acks(&self, now: Span) -> bool {
        now < self.slow_acks_until
    }
}
