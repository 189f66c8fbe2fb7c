//! A timer whose step is refused.

use super::{Daemon, code};

#[test]
fn a_timer_whose_step_hits_a_limit_fires_once_and_the_instance_says_that_it_is_stuck() {
    let mut daemon = Daemon::new();
    daemon.send("k", "LATE", "");
    for turn in 0..100 {
        daemon.fire(1_000 + turn, 64);
    }
    assert_eq!(daemon.run.counts.timers_fired, 1);
    let stuck = daemon.op("get", "k", "");
    assert_eq!((&stuck["status"], &stuck["stuck"]), (&"error".into(), &true.into()));
    assert_eq!(daemon.shards.of(0).due(), u64::MAX, "a stuck instance has no timer that is due");
}

#[test]
fn seventy_such_timers_starve_nobody() {
    let mut daemon = Daemon::new();
    for key in 0..70 {
        daemon.send(&format!("late{key}"), "LATE", "");
    }
    daemon.run.now = 500;
    daemon.send("good", "GO", "");
    daemon.send("good", "GO", "");
    for turn in 0..10 {
        daemon.fire(60_500 + turn, 64);
    }
    assert_eq!(daemon.op("get", "good", "")["value"], "b", "its timer never came");
    assert_eq!(code(&daemon.send("good", "GO", "")), "ok");
}

#[test]
fn an_instance_whose_timers_take_no_time_fires_a_bounded_number_and_goes_on_a_while_later() {
    let mut daemon = Daemon::new();
    daemon.send("k", "SPIN", "");
    let seconds = 2;
    for now in 1..=seconds * 1_000 {
        (0..10).for_each(|_| _ = daemon.fire(now, 64));
    }
    let fired = daemon.run.counts.timers_fired;
    assert!(fired >= seconds * 6_000 && fired <= seconds * 7_000, "{fired} in {seconds} s");
    assert_eq!(daemon.run.counts.troubles.restless, fired / 64);
    // A client's event is taken at once, and ends it.
    assert_eq!(daemon.send("k", "GO", "")["value"], "a");
    daemon.fire(3_000, 64);
    assert_eq!(daemon.run.counts.timers_fired, fired);
}

#[test]
fn retry_fires_what_is_held_again_and_skip_drops_it() {
    let mut daemon = Daemon::new();
    daemon.send("k", "LATE", "");
    daemon.fire(1_000, 64);
    assert_eq!(daemon.run.counts.troubles.stuck, 1);
    let last = daemon.published().pop().unwrap();
    assert_eq!((&last["reason"], &last["stuck"]), (&"timer".into(), &true.into()));
    assert_eq!(code(&daemon.op("retry", "k", "")), "event_failed");
    assert_eq!(code(&daemon.op("start", "k", "")), "already_started");
    let answer = daemon.op("skip", "k", "");
    assert_eq!((&answer["status"], &answer["changed"], answer.get("stuck")), (&"active".into(), &true.into(), None));
    assert_eq!(daemon.published().pop().unwrap()["reason"], "skip");
    assert_eq!(daemon.op("skip", "k", "")["changed"], false);
    daemon.fire(2_000, 64);
    assert_eq!(daemon.op("get", "k", "")["value"], "b", "its other timer goes on");
    let history = daemon.op("history", "k", "");
    let hows: Vec<_> =
        history["history"].as_array().unwrap().iter().map(|one| (&one["stuck"], &one["reason"])).collect();
    let none = &serde_json::Value::Null;
    assert_eq!(hows[1..], [(&true.into(), none), (none, &"skip".into()), (none, none)], "{history}");
}

#[test]
fn a_stuck_instance_can_be_stopped_and_then_started_anew() {
    let mut daemon = Daemon::new();
    daemon.send("k", "LATE", "");
    daemon.fire(1_000, 64);
    let stopped = daemon.op("stop", "k", "");
    assert_eq!(
        (&stopped["status"], &stopped["changed"], stopped.get("stuck")),
        (&"stopped".into(), &true.into(), None)
    );
    assert_eq!(daemon.op("start", "k", "")["status"], "active");
}
