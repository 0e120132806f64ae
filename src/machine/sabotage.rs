//! Planted bugs. Each breaks one promise on purpose, so that the tests that guard it can be seen to
//! fail. Compiled only with the feature `sabotage`, which no released program has.

/// Which bugs are planted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sabotage {
    /// The historical bug: children are reaped inside the board's pass, after connecting, so that a
    /// board which cannot be opened stops the reaping.
    pub reap_inside_the_pass: bool,
    /// A timer of an attempt that is moved is forgotten: nothing kills what ignores TERM.
    pub forget_a_timer: bool,
    /// Boards that wait for a slot of the host are forgotten: a freed slot stays empty.
    pub forget_who_waits: bool,
    /// Claims are reclaimed as soon as their board is back: their owners get no time to renew them.
    pub reclaim_at_once: bool,
}
