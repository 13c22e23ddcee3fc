//! The report as a person reads it.

use std::fmt::{self, Display, Write};

use super::Forecasts;
use super::report::{Counts, LifeReport, MachineReport, Report, Summary};

/// Widest label column.
const LABEL_MAX: usize = 32;

/// A number with three digits, or a dash.
fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
}

/// A share in percent, or a dash.
fn percent(part: usize, whole: usize) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    format!("{:.1} %", 100.0 * part as f64 / whole as f64)
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.name)?;
        for machine in &self.machines {
            machine_table(f, machine)?;
        }
        if !self.rivals.is_empty() {
            rivals_table(f, self)?;
        }
        summary_table(f, &self.summary)?;
        if let Some(model) = &self.model {
            let (name, digest) = (&model.name, &model.digest);
            writeln!(f, "model {name} {digest}, {} bytes, {} MACs", model.bytes, model.macs)?;
        }
        writeln!(f, "{:.1} s", self.seconds)
    }
}

fn machine_table(f: &mut fmt::Formatter<'_>, machine: &MachineReport) -> fmt::Result {
    writeln!(f, "\n{}", machine.id)?;
    for learned in &machine.learned {
        let refused: usize = learned.refused.values().sum();
        write!(f, "  learned     {} windows, {} regimes", learned.kept, learned.regimes)?;
        if refused > 0 {
            write!(f, ", {refused} refused")?;
        }
        if let Some(budget) = learned.supports_per_year {
            write!(f, ", supports {budget:.1} false alarms a year")?;
        }
        if let Some(why) = &learned.suspect {
            write!(f, ", SUSPECT: {why}")?;
        }
        writeln!(f)?;
    }
    if let Some(detection) = &machine.detection {
        writeln!(
            f,
            "  detection   AUC {}  pAUC {}",
            number(detection.auc),
            number(detection.pauc)
        )?;
        counts_row(f, "recordings", &detection.recordings)?;
        counts_row(f, "windows", &detection.windows)?;
        for (key, row) in &detection.by_fault {
            let auc = number(row.auc);
            let (hits, n, skipped) = (row.hits, row.n, row.not_learned);
            let key = shorten(key);
            writeln!(
                f,
                "    {key:<LABEL_MAX$} AUC {auc:>5}  hits {hits}/{n}  not learned {skipped}"
            )?;
        }
    }
    if let Some(diagnosis) = &machine.diagnosis {
        let (correct, n, none) = (diagnosis.correct, diagnosis.n, diagnosis.none);
        let (named, normals) = (diagnosis.normals_named, diagnosis.normals);
        write!(f, "  diagnosis   {correct}/{n} named right, {none} not named, ")?;
        writeln!(f, "macro-F1 {}, normals named {named}/{normals}", number(diagnosis.macro_f1))?;
        for (truth, row) in &diagnosis.confusion {
            let mut answers = String::new();
            for (said, count) in row {
                write!(answers, "  {said} {count}")?;
            }
            writeln!(f, "    {:<LABEL_MAX$}{answers}", shorten(truth))?;
        }
    }
    machine.lives.iter().try_for_each(|life| life_row(f, life))
}

fn shorten(label: &str) -> String {
    label.chars().take(LABEL_MAX).collect()
}

fn counts_row(f: &mut fmt::Formatter<'_>, what: &str, counts: &Counts) -> fmt::Result {
    write!(f, "  {what:<11} false alarms {}/{}", counts.false_alarms, counts.normal)?;
    write!(f, " ({})", percent(counts.false_alarms, counts.normal))?;
    write!(f, "  hits {}/{}", counts.hits, counts.fault)?;
    write!(f, " ({})", percent(counts.hits, counts.fault))?;
    let (normal, fault) = (counts.not_learned_normal, counts.not_learned_fault);
    writeln!(f, "  not learned {normal} normal, {fault} fault")
}

fn life_row(f: &mut fmt::Formatter<'_>, life: &LifeReport) -> fmt::Result {
    let at = |snapshot: Option<usize>| snapshot.map_or("-".to_owned(), |idx| idx.to_string());
    write!(f, "  life        {}: {} snapshots, ", life.file, life.snapshots)?;
    write!(f, "first alarm {}, ", at(life.first_alarm_snapshot))?;
    write!(f, "lasting {}, ", at(life.lasting_alarm_snapshot))?;
    write!(f, "lead {:.1} min ({:.0} %)", life.lead_s / 60.0, 100.0 * life.lead_share)?;
    let early = if life.alarm_in_first_third { ", ALARM IN FIRST THIRD" } else { "" };
    writeln!(f, "{early}, AUC early/late {}", number(life.auc_early_late))?;
    let Some(forecast) = &life.forecast else { return Ok(()) };
    let (at, actual_s) = (forecast.at_snapshot, forecast.actual_s);
    match (forecast.life_left_s, forecast.reason) {
        (Some(left), _) => writeln!(
            f,
            "  forecast    at {at}: {:.0} s ({:.0}-{:.0}), was {actual_s:.0} s, score {}",
            left.p50,
            left.p10,
            left.p90,
            number(forecast.phm2012_score)
        ),
        (None, reason) => writeln!(
            f,
            "  forecast    at {at}: none ({}), was {actual_s:.0} s",
            reason.unwrap_or("no reason")
        ),
    }
}

fn rivals_table(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    writeln!(
        f,
        "\n{:<LABEL_MAX$} {:>6} {:>6} {:>12} {:>7} {:>12} {:>12}",
        "beside rivals", "AUC", "pAUC", "false alarms", "hits", "clean+early", "median lead"
    )?;
    let rows = report.rivals.iter().map(|rival| (rival.name, &rival.summary));
    for (name, summary) in std::iter::once(("auscult", &report.summary)).chain(rows) {
        let share = |value: Option<f64>| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{:.1} %", 100.0 * value))
        };
        let early = format!("{}/{}", summary.lives_clean_and_early, summary.lives);
        let lead = summary
            .median_lead_s
            .map_or_else(|| "-".to_owned(), |lead| format!("{:.1} min", lead / 60.0));
        writeln!(
            f,
            "{name:<LABEL_MAX$} {:>6} {:>6} {:>12} {:>7} {early:>12} {lead:>12}",
            number(summary.auc),
            number(summary.pauc),
            share(summary.false_alarm_share),
            share(summary.hit_share)
        )?;
    }
    Ok(())
}

fn summary_table(f: &mut fmt::Formatter<'_>, summary: &Summary) -> fmt::Result {
    writeln!(f, "\nsummary (mean over machines)")?;
    writeln!(f, "  AUC {}  pAUC {}", number(summary.auc), number(summary.pauc))?;
    writeln!(
        f,
        "  windows: false alarms {}  hits {}  not learned {}",
        number(summary.false_alarm_share),
        number(summary.hit_share),
        number(summary.not_learned_share)
    )?;
    writeln!(
        f,
        "  diagnosis: accuracy {}  macro-F1 {}  normals named {}",
        number(summary.diagnosis_accuracy),
        number(summary.diagnosis_macro_f1),
        summary.normals_named
    )?;
    if summary.lives > 0 {
        writeln!(
            f,
            "  lives: {} of {} alarmed, {} in the first third, {} clean and early, median lead {} s",
            summary.lives_alarmed,
            summary.lives,
            summary.lives_alarmed_in_first_third,
            summary.lives_clean_and_early,
            summary.median_lead_s.unwrap_or(0.0)
        )?;
    }
    if summary.forecasts > 0 {
        writeln!(
            f,
            "  forecasts: {}, refused {}, PHM 2012 {} (best constant {})",
            summary.forecasts,
            summary.forecasts_refused,
            number(summary.phm2012),
            number(summary.phm2012_floor)
        )?;
    }
    summary.outlooks.as_ref().map_or(Ok(()), |outlooks| outlooks_table(f, outlooks))
}

fn outlooks_table(f: &mut fmt::Formatter<'_>, outlooks: &Forecasts) -> fmt::Result {
    let Forecasts { asked, held, before_p10, after_p90, .. } = outlooks;
    let stated = held + before_p10 + after_p90;
    writeln!(
        f,
        "  life left, asked at {asked} moments: {stated} stated, {held} within P10-P90, {before_p10} failed before, \
         {after_p90} after; PHM 2012 {} of the stated, {} of all (best constant {})",
        number(outlooks.phm2012_stated),
        number(Some(outlooks.phm2012)),
        number(Some(outlooks.phm2012_floor))
    )?;
    outlooks.refused.iter().try_for_each(|(why, n)| writeln!(f, "    refused {n}: {why}"))
}
