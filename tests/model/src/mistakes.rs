/// A copy of the core with a mistake.
struct Mistake {
    /// A module's name.
    name: &'static str,
    /// File, what stands there once, and what stands there instead.
    edits: &'static [(&'static str, &'static str, &'static str)],
}

/// Mistakes that a developer might make.
const MISTAKES: &[Mistake] = &[
    Mistake {
        name: "a_vote_is_answered_before_it_is_durable",
        edits: &[("vote.rs", "            && durable\n            && let Some(candidate)", "            && let Some(candidate)")],
    },
    Mistake {
        name: "a_vote_is_asked_for_before_the_own_one_is_durable",
        edits: &[
            ("vote.rs", "            && !candidate.asked\n            && durable\n", "            && !candidate.asked\n"),
            ("vote.rs", "        self.stand(false, now, out);\n", "        self.stand(false, now, out);\n        self.candidate_is_durable(now, out);\n"),
        ],
    },
    Mistake {
        name: "entries_of_earlier_terms_are_committed_by_count",
        edits: &[("leader.rs", "if decided <= *commit || log.term_at(decided) != Some(ballot.term) {", "if decided <= *commit {")],
    },
    Mistake {
        name: "entries_are_acknowledged_before_they_are_durable",
        edits: &[(
            "follower.rs",
            "let (durable, promised) = (self.writes.index(), self.writes.ballot_is_durable());",
            "let (durable, promised) = (u64::MAX, true);",
        )],
    },
    Mistake {
        name: "an_acknowledgement_has_no_generation",
        edits: &[(
            "receive.rs",
            "        let Envelope { from, to, message } = envelope;\n",
            "        let Envelope { mut from, to, message } = envelope;\n        let same = |other: &&super::config::Replica| other.same_volume(&from);\n        let known = self.log.configuration().replicas().filter(same).max().cloned();\n        from = known.unwrap_or(from);\n",
        )],
    },
    Mistake {
        name: "a_shortened_log_votes",
        edits: &[("group.rs", "Input::Damaged => self.give_up(now, out),", "Input::Damaged => {}")],
    },
    Mistake {
        name: "the_former_voters_are_not_asked",
        edits: &[("config.rs", "half(&self.voters) && (self.former.is_empty() || half(&self.former))", "half(&self.voters)")],
    },
    Mistake {
        name: "the_former_voters_need_not_have_it",
        edits: &[(
            "config.rs",
            "if self.former.is_empty() { next } else { next.min(half(&self.former).unwrap_or(0)) }",
            "next",
        )],
    },
    Mistake {
        name: "who_has_the_older_log_gets_a_vote",
        edits: &[("vote.rs", "        last >= self.log.last()\n", "        last.index >= self.log.last().index\n")],
    },
    Mistake {
        name: "what_was_not_compared_is_acknowledged",
        edits: &[("follower.rs", "let index = follower.matched.min(durable);", "let index = durable;")],
    },
    Mistake {
        name: "what_was_truncated_stays_durable",
        edits: &[("writes.rs", "        self.index = self.index.min(index.saturating_sub(1));\n", "")],
    },
    Mistake {
        name: "a_second_vote_is_given_in_a_term",
        edits: &[("vote.rs", "let free = self.ballot.vote.is_none() && self.leader().is_none();", "let free = self.leader().is_none();")],
    },
];
