//! What people order: acknowledge, put aside, take out of service.

use crate::types::{Command, Stamp, What};

use super::calm::Debounce;
use super::cycle::{Cycle, Events};
use super::{Advisor, Named, causes};

/// What is answered: done, or why not.
type Answer = Result<String, String>;

/// The two cases of an asset, by a kind that belongs to each.
const CASES: [What; 2] = [What::Anomaly, What::Sensor];

impl Advisor {
    pub(super) fn acknowledge(&mut self, what: Option<What>, command: &Command) -> Answer {
        let n_told = self.on_cases(what, command, |cycle, _| cycle.acknowledge());
        if n_told == 0 {
            return Err("there is no alarm to acknowledge".to_owned());
        }
        Ok("acknowledged".to_owned())
    }

    pub(super) fn shelve(&mut self, what: Option<What>, until: Stamp, command: &Command) -> Answer {
        if until <= command.at {
            return Err(format!("{until} is over already; choose a later time"));
        }
        if until - command.at > self.config.longest_shelf() {
            let hours = self.config.shelve_max_h;
            return Err(format!("at most {hours} h (shelve_max_h); choose an earlier time"));
        }
        if command.reason.is_empty() {
            return Err("a reason is needed, so that others know why it is quiet".to_owned());
        }
        self.on_cases(what, command, |cycle, _| cycle.shelve(until));
        Ok(format!("put aside until {until}"))
    }

    pub(super) fn unshelve(&mut self, what: Option<What>, command: &Command) -> Answer {
        let mut was_shelved = false;
        self.on_cases(what, command, |cycle, on| {
            was_shelved |= cycle.is_shelved();
            cycle.unshelve(on)
        });
        if was_shelved { Ok("back".to_owned()) } else { Err("nothing is on the shelf".to_owned()) }
    }

    pub(super) fn suppress(&mut self, suppressed: bool, command: &Command) -> String {
        self.on_cases(None, command, |cycle, on| cycle.suppress(suppressed, on));
        if suppressed { "suppressed" } else { "no longer suppressed" }.to_owned()
    }

    pub(super) fn out_of_service(&mut self, out: bool, command: &Command) -> String {
        self.on_cases(None, command, |cycle, on| cycle.out_of_service(out, on));
        if out { "out of service" } else { "back in service" }.to_owned()
    }

    /// After maintenance the machine is another one: its case is closed, its delays begin anew.
    pub(super) fn relearn(&mut self, command: &Command) -> String {
        self.on_cases(Some(What::Anomaly), command, |cycle, _| cycle.reset());
        let memory = &mut self.memory;
        memory.levels = <[Debounce; 4]>::default();
        memory.floors = causes::Floors::default();
        memory.name = Named::default();
        self.facts.faults.clear();
        "learning anew what is normal".to_owned()
    }

    /// Applies `change` to the cases `what` means; gives how many events that caused.
    fn on_cases(
        &mut self,
        what: Option<What>,
        command: &Command,
        mut change: impl FnMut(&mut Cycle, bool) -> Events,
    ) -> usize {
        let before = self.alerts.len();
        let by = if command.reason.is_empty() {
            command.by.clone()
        } else {
            format!("{}: {}", command.by, command.reason)
        };
        for case in CASES {
            let meant = what.is_none_or(|what| (what == What::Sensor) == (case == What::Sensor));
            if meant {
                let on = self.is_on(case);
                let events = change(&mut self.case(case).cycle, on);
                self.tell(events, case, command.at, 0, Some(&by));
            }
        }
        self.alerts.len() - before
    }
}
