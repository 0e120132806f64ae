//! The packets: one byte for the kind, then fields. Each packet is complete in itself, because workers
//! send on the connection of their dispatcher.
//!
//! A packet comes from another program, perhaps of another version: one that cannot be read
//! completely, to its last byte, is invalid.

use super::fields::{Fields, push_text};
use super::tag::{Tag, check_lock};

/// Raised with every change of a packet's form. Both ends must have the same version.
pub const VERSION: u16 = 1;
/// Maximum length of a packet to the keeper: an [`Ask::Keep`] with the longest tag has 330 bytes.
pub const LARGEST_ASK: usize = 512;
/// Maximum length of a packet from the keeper.
pub const LARGEST_ANSWER: usize = 4096;

/// What the keeper is told and asked. Questions carry a number, which the answer repeats, so that a
/// late answer is not taken for the answer to the next question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Sent first. Answered with [`Answer::Hello`].
    Hello(u16),
    /// Keep the descriptor that is attached. Not answered.
    Keep(Tag),
    /// Close the descriptor that is kept under this lock. Not answered.
    Drop(String),
    /// Send a copy of the descriptor that is kept under this lock.
    Get { number: u32, lock: String },
    /// Send all tags. Answered with one or more [`Answer::Tags`].
    List { number: u32 },
}

/// What the keeper answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The keeper's version. If it differs from that of the hello, the keeper closes the connection.
    Hello(u16),
    /// A copy of the descriptor is attached.
    Here { number: u32 },
    /// Nothing is kept under this lock.
    NotHere { number: u32 },
    /// It is kept for another dispatcher than the one that asks, and that dispatcher is alive.
    DispatcherLives { number: u32 },
    /// Some of the tags, and whether they are the last.
    Tags { number: u32, last: bool, tags: Vec<Tag> },
}

const HELLO: u8 = 1;
const KEEP: u8 = 2;
const DROP: u8 = 3;
const GET: u8 = 4;
const LIST: u8 = 5;
const HERE: u8 = 6;
const NOT_HERE: u8 = 7;
const DISPATCHER_LIVES: u8 = 8;
const TAGS: u8 = 9;

/// Maximum number of bytes of tags in one [`Answer::Tags`].
pub const ROOM_FOR_TAGS: usize = LARGEST_ANSWER - 6;

/// Returns the packet of [`Ask::Keep`].
pub fn keep(tag: &Tag) -> Vec<u8> {
    let mut packet = vec![KEEP];
    tag.push(&mut packet);
    packet
}

impl Ask {
    pub fn packet(&self) -> Vec<u8> {
        match self {
            Ask::Hello(version) => hello(*version),
            Ask::Keep(tag) => keep(tag),
            Ask::Drop(lock) => {
                let mut packet = vec![DROP];
                push_text(&mut packet, lock);
                packet
            }
            Ask::Get { number, lock } => {
                let mut packet = numbered(GET, *number);
                push_text(&mut packet, lock);
                packet
            }
            Ask::List { number } => numbered(LIST, *number),
        }
    }

    pub fn read(packet: &[u8]) -> Option<Ask> {
        let mut fields = Fields::of(packet);
        let ask = match fields.u8()? {
            HELLO => Ask::Hello(fields.u16()?),
            KEEP => Ask::Keep(Tag::read(&mut fields)?),
            DROP => Ask::Drop(lock(&mut fields)?),
            GET => Ask::Get { number: fields.u32()?, lock: lock(&mut fields)? },
            LIST => Ask::List { number: fields.u32()? },
            _ => return None,
        };
        fields.is_empty().then_some(ask)
    }
}

impl Answer {
    pub fn packet(&self) -> Vec<u8> {
        match self {
            Answer::Hello(version) => hello(*version),
            Answer::Here { number } => numbered(HERE, *number),
            Answer::NotHere { number } => numbered(NOT_HERE, *number),
            Answer::DispatcherLives { number } => numbered(DISPATCHER_LIVES, *number),
            Answer::Tags { number, last, tags } => {
                let mut packet = numbered(TAGS, *number);
                packet.push(u8::from(*last));
                tags.iter().for_each(|tag| tag.push(&mut packet));
                packet
            }
        }
    }

    pub fn read(packet: &[u8]) -> Option<Answer> {
        let mut fields = Fields::of(packet);
        let answer = match fields.u8()? {
            HELLO => Answer::Hello(fields.u16()?),
            HERE => Answer::Here { number: fields.u32()? },
            NOT_HERE => Answer::NotHere { number: fields.u32()? },
            DISPATCHER_LIVES => Answer::DispatcherLives { number: fields.u32()? },
            TAGS => Answer::Tags {
                number: fields.u32()?,
                last: flag(fields.u8()?)?,
                tags: tags(&mut fields)?,
            },
            _ => return None,
        };
        fields.is_empty().then_some(answer)
    }

    /// Returns the number of the question; `None` for a hello, which has none.
    pub fn number(&self) -> Option<u32> {
        match self {
            Answer::Hello(_) => None,
            Answer::Here { number }
            | Answer::NotHere { number }
            | Answer::DispatcherLives { number }
            | Answer::Tags { number, .. } => Some(*number),
        }
    }
}

fn hello(version: u16) -> Vec<u8> {
    let mut packet = vec![HELLO];
    packet.extend(version.to_le_bytes());
    packet
}

fn numbered(kind: u8, number: u32) -> Vec<u8> {
    let mut packet = vec![kind];
    packet.extend(number.to_le_bytes());
    packet
}

fn lock(fields: &mut Fields<'_>) -> Option<String> {
    fields.text().filter(|lock| check_lock(lock).is_ok())
}

fn flag(byte: u8) -> Option<bool> {
    match byte {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn tags(fields: &mut Fields<'_>) -> Option<Vec<Tag>> {
    let mut tags = Vec::new();
    while !fields.is_empty() {
        tags.push(Tag::read(fields)?);
    }
    Some(tags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_tag() -> impl Strategy<Value = Tag> {
        ("[a-z0-9_-]{0,64}", any::<i64>(), "[a-z0-9:.-]{1,255}")
            .prop_map(|(board, run, lock)| Tag::new(&board, run, &lock).unwrap())
    }

    fn any_ask() -> impl Strategy<Value = Ask> {
        let lock = "[a-z0-9:.-]{1,255}";
        prop_oneof![
            any::<u16>().prop_map(Ask::Hello),
            any_tag().prop_map(Ask::Keep),
            lock.prop_map(Ask::Drop),
            (any::<u32>(), lock).prop_map(|(number, lock)| Ask::Get { number, lock }),
            any::<u32>().prop_map(|number| Ask::List { number }),
        ]
    }

    fn any_answer() -> impl Strategy<Value = Answer> {
        let tags = prop::collection::vec(any_tag(), 0..8);
        prop_oneof![
            any::<u16>().prop_map(Answer::Hello),
            any::<u32>().prop_map(|number| Answer::Here { number }),
            any::<u32>().prop_map(|number| Answer::NotHere { number }),
            any::<u32>().prop_map(|number| Answer::DispatcherLives { number }),
            (any::<u32>(), any::<bool>(), tags).prop_map(|(number, last, tags)| Answer::Tags {
                number,
                last,
                tags
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_packet_is_read_as_it_was_meant(ask in any_ask(), answer in any_answer()) {
            prop_assert!(ask.packet().len() <= LARGEST_ASK);
            prop_assert_eq!(Ask::read(&ask.packet()), Some(ask));
            prop_assert!(answer.packet().len() <= LARGEST_ANSWER);
            prop_assert_eq!(Answer::read(&answer.packet()), Some(answer));
        }

        #[test]
        fn a_part_of_a_packet_is_none(ask in any_ask(), extra in any::<u8>()) {
            let mut packet = ask.packet();
            for length in 0..packet.len() {
                prop_assert_eq!(Ask::read(&packet[..length]), None, "{} bytes", length);
            }
            packet.push(extra);
            prop_assert_eq!(Ask::read(&packet), None, "a byte too many");
        }

        /// Bytes that can be read are exactly those that would be written: each packet has one
        /// encoding, and no byte is ignored.
        #[test]
        fn rubbish_is_no_packet(kind in 0_u8..12, rest in prop::collection::vec(any::<u8>(), 0..600)) {
            let packet = [vec![kind], rest].concat();
            if let Some(ask) = Ask::read(&packet) {
                prop_assert_eq!(ask.packet(), packet.clone());
            }
            if let Some(answer) = Answer::read(&packet) {
                prop_assert_eq!(answer.packet(), packet);
            }
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_no_packet() {
        assert_eq!(Ask::read(&[DROP, 255, b'x']), None);
        assert_eq!(Ask::read(&[DROP, 0]), None, "a lock is not empty");
        assert_eq!(Ask::read(&[DROP, 1, 0xff]), None, "a lock is text");
        assert_eq!(Ask::read(&[DROP, 1, b'x']), Some(Ask::Drop("x".to_owned())));
        assert_eq!(Ask::read(&[]), None);
    }

    #[test]
    fn the_room_for_tags_fills_a_packet_to_its_end() {
        let tags = Answer::Tags { number: 1, last: true, tags: vec![] };
        assert_eq!(tags.packet().len() + ROOM_FOR_TAGS, LARGEST_ANSWER);
        let tag = Tag::new("board", 7, "lock").unwrap();
        assert_eq!(keep(&tag).len(), 1 + tag.size());
    }
}
