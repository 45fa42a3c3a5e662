//! Read schedules: what is one can be told, and be written for others or refused. Input: the text.
#![no_main]

use coldforge_base::time::Moment;
use coldforge::imagebuilder::Schedule;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let Ok(schedule) = Schedule::parse(input) else { return };
    schedule.describe();
    let start = Moment(1_767_225_600);
    let next = schedule.next(start, 3);
    assert!(next.is_sorted() && next.iter().all(|moment| *moment > start));
    let _ = (schedule.timer(), schedule.crontab());
});
