//! `list`: instances of the whole mesh, a page at a time. A page is one member's: a request goes to the member at whose instances it
//! goes on, and the reply says where to go on after it, at the next member in the end. So no member keeps anything between two pages.
//!
//! A member looks at its instances a slice in each turn of a reactor, so that no other request waits for longer than for that. Askers
//! take turns, a slice each; the lists of one are made one after the other.

use std::collections::VecDeque;

use statemesh_mesh::delivery::With;
use statemesh_mesh::membership::Status;
use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::reply::{Encoding, MapWriter, write_uint};
use statemesh_protocol::request::{PAGE_MAX, Request};
use statemesh_protocol::request_parts::Listing;
use statemesh_shard::{Bounds, Filter, Page, Place, Walk};
use statemesh_transport::{ConnId, Io};

use super::context::{Keyed, Waiting};
use super::{Asked, ReplyTo, Worker};
use crate::directory::{Directory, DirectoryEntry};

/// Instances of one answer, where the request does not say.
const USUAL_PAGE: u64 = 100;

/// The lists that one reactor makes, by who asks, whose turn is next first. They are in flight, and bounded with all that is; one that
/// no client waits for is dropped.
#[derive(Debug, Default)]
pub(super) struct Lists(VecDeque<(Asker, VecDeque<List>)>);

/// The connection of a client, or the link of a member; none for the daemon itself.
type Asker = Option<ConnId>;

#[derive(Debug)]
struct List {
    walk: Walk,
    counts: bool,
    encoding: Encoding,
    id: Option<Vec<u8>>,
    correlation: u64,
}

impl Lists {
    fn add(&mut self, asker: Asker, list: List) {
        match self.0.iter_mut().find(|(of, _)| *of == asker) {
            Some((_, lists)) => lists.push_back(list),
            None => self.0.push_back((asker, VecDeque::from([list]))),
        }
    }

    /// A connection is gone, and with it what waits for its lists.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.0.retain(|(asker, _)| *asker != Some(conn));
    }

    /// Takes out the first list of the one whose turn it is, who is the last one then.
    fn next(&mut self) -> Option<List> {
        let (asker, mut lists) = self.0.pop_front()?;
        let list = lists.pop_front()?;
        self.0.push_back((asker, lists));
        Some(list)
    }

    /// Puts back what [`Lists::next`] gave, if it goes on.
    fn put_back(&mut self, list: Option<List>) {
        let Some((asker, mut lists)) = self.0.pop_back() else { return };
        list.into_iter().for_each(|list| lists.push_front(list));
        if !lists.is_empty() {
            self.0.push_back((asker, lists));
        }
    }

    /// Whether none is being made.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Where a list goes on: a place at a member.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cursor {
    place: Place,
    member: String,
}

impl Cursor {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let (shard, place, member) = (parts.next()?, parts.next()?, parts.next()?);
        let place = Place { shard: shard.parse().ok()?, place: place.parse().ok()? };
        (!member.is_empty()).then(|| Self { place, member: member.to_owned() })
    }

    fn text(&self) -> String {
        format!("{}.{}.{}", self.place.shard, self.place.place, self.member)
    }
}

/// The first member at this name or behind it that may have instances.
fn first_from<'a>(view: &'a Directory, name: Option<&str>, is_behind: bool) -> Option<&'a DirectoryEntry> {
    let is_there = |member: &&DirectoryEntry| matches!(member.status, Status::Alive | Status::Suspect);
    let comes = |member: &&DirectoryEntry| {
        name.is_none_or(|name| if is_behind { *member.name > *name } else { *member.name >= *name })
    };
    view.members.iter().filter(is_there).filter(comes).min_by(|a, b| a.name.cmp(&b.name))
}

impl Worker {
    /// Begins a page of a list, or sends the request where it is made. `hops`: a member has found that it is made here.
    pub(super) fn list(&mut self, request: &Request<'_>, raw: &[u8], reply_to: ReplyTo, hops: u8, io: &mut Io) {
        let asked = Asked { encoding: request.encoding, id: request.id, reply_to };
        let machine = &request.machine;
        // One that has not joined knows neither all machines nor the members that have instances. A member that passes a request on
        // knows the machine, which this daemon may hear of later: it has no instance of it.
        if hops == 0 && !self.shared.view().joined {
            let message = "this daemon has not joined its mesh";
            return self.fail(asked, ErrorCode::NotReady, message, "ask another one", io);
        }
        if hops == 0 && !machine.is_empty() && self.shared.machines.table().by_name(machine).is_none() {
            let message = format!("no machine \"{machine}\" is defined");
            return self.fail(asked, ErrorCode::UnknownMachine, &message, "`machines` lists those that are", io);
        }
        let filter = match Filter::read(machine, request.list.filter, request.encoding) {
            Ok(filter) => filter,
            Err(error) => {
                let hint = concat!(
                    "docs/reference/protocol.md of ",
                    env!("CARGO_PKG_REPOSITORY"),
                    " says what `where` may have"
                );
                return self.fail(asked, ErrorCode::WrongType, &error.to_string(), hint, io);
            }
        };
        // The daemon that the client talks to says so: another one may have heard of a new version later.
        if hops == 0
            && let Err(unknown) = filter.known_to(&self.shared.machines.table())
        {
            return self.fail(asked, ErrorCode::UnknownState, &unknown.message, &unknown.hint, io);
        }
        let cursor = match request.list.after.as_deref().map(Cursor::parse) {
            Some(None) => {
                let message = "\"after\" must be the `next` of an earlier page";
                return self.fail(
                    asked,
                    ErrorCode::WrongType,
                    message,
                    "leave it out to begin with the first page",
                    io,
                );
            }
            cursor => cursor.flatten(),
        };
        let keyed = Keyed::without_key(request, raw, reply_to, self.time.now);
        if !self.may_wait(&keyed, io) {
            return;
        }
        let view = self.shared.view();
        let at = first_from(&view, cursor.as_ref().map(|cursor| cursor.member.as_str()), false);
        match at {
            Some(member) if hops == 0 && !member.is_self => self.list_at(member, keyed, io),
            // A daemon that has not joined, or knows of no member behind the cursor.
            None if hops == 0 && cursor.is_some() => self.end_of_list(asked, request.list.counts, io),
            _ => self.list_here(filter, cursor, keyed, io),
        }
    }

    fn list_here(&mut self, filter: Filter, cursor: Option<Cursor>, keyed: Keyed<'_>, io: &mut Io) {
        let Request { encoding, id, list: Listing { limit, counts, .. }, .. } = *keyed.request;
        let limits = &self.shared.options.limits;
        // The parser has refused what is more: the number fits.
        let lines = usize::try_from(limit.unwrap_or(USUAL_PAGE).min(PAGE_MAX)).unwrap_or(1);
        let bounds = Bounds { lines, bytes: limits.output_bytes / 2, looks: limits.list_looks };
        let own = |cursor: &Cursor| cursor.member == self.shared.options.name;
        let from = cursor.filter(own).map(|cursor| cursor.place).unwrap_or_default();
        let walk = Walk::new(filter, bounds, counts, from, self.shared.shards.unix_ms(self.runner.run.now));
        let id = id.map(<[u8]>::to_vec);
        let asker = match keyed.reply_to {
            ReplyTo::Peer { conn, .. } => Some(conn),
            reply_to => self.clients.asker(reply_to),
        };
        let waiting = self.keep(keyed, io);
        let correlation = self.delivery.sent(waiting, With::Control, self.time.now);
        self.lists.add(asker, List { walk, counts, encoding, id, correlation });
    }

    /// Passes a request on to the member that makes the page.
    fn list_at(&mut self, member: &DirectoryEntry, keyed: Keyed<'_>, io: &mut Io) {
        let waiting = self.keep(keyed, io);
        // A page waits for no link of the lane that is always open; those of the others are opened when there is something to send.
        let is_there = self.links.to.is_ready(member.number) || !self.links.to.is_control_lane();
        let passed_on = match is_there {
            true => self.pass_on(waiting, member.number, io),
            false => Err(Box::new(waiting)),
        };
        if let Err(waiting) = passed_on {
            self.unlisted(&waiting, io);
        }
    }

    /// The member that would make a page cannot be asked.
    pub(super) fn unlisted(&mut self, waiting: &Waiting, io: &mut Io) {
        let message = "the daemon at whose instances the list goes on cannot be reached";
        self.fail_waiting(waiting, ErrorCode::OwnerUnreachable, message, "ask for the same page again", io);
    }

    fn end_of_list(&mut self, asked: Asked<'_>, counts: bool, io: &mut Io) {
        let reply = written(asked.encoding, asked.id, counts, &Page::default(), None);
        self.deliver(asked.reply_to, &reply, io);
    }

    /// One slice more of the list that is being made.
    pub(super) fn go_on_listing(&mut self, io: &mut Io) {
        let Some(mut list) = self.lists.next() else { return };
        // One whose request was answered, as when its time was over, is not waited for any more.
        if self.delivery.waiting(list.correlation).is_none() {
            return self.lists.put_back(None);
        }
        let shard = list.walk.shard();
        match list.walk.step(&self.shared.shards) {
            None => self.lists.put_back(Some(list)),
            Some(page) => {
                self.lists.put_back(None);
                let next = self.next_of(&page);
                let reply = written(list.encoding, list.id.as_deref(), list.counts, &page, next.as_ref());
                // It may show what no disk has yet.
                let mark = self.shared.shards.log().and_then(|log| log.mark_of_all());
                self.leave_answer(mark, list.correlation, &reply, io);
            }
        }
        self.serve(shard, io);
    }

    /// Where a list goes on after a page: here, or at the beginning of the next member.
    fn next_of(&self, page: &Page) -> Option<Cursor> {
        let own = &self.shared.options.name;
        if let Some(place) = page.next {
            return Some(Cursor { place, member: own.clone() });
        }
        let view = self.shared.view();
        let next = first_from(&view, Some(own), true)?;
        Some(Cursor { place: Place::default(), member: next.name.to_string() })
    }
}

fn written(encoding: Encoding, id: Option<&[u8]>, counts: bool, page: &Page, next: Option<&Cursor>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut reply = MapWriter::new(&mut out, encoding);
    if let Some(id) = id {
        reply.raw("id", id);
    }
    reply.bool("ok", true);
    match counts {
        true => {
            reply.list("counts", page.counts.iter(), |out, encoding, (kind, count)| kind.write(*count, out, encoding))
        }
        false => reply.list("instances", page.lines.iter(), |out, encoding, line| line.write(out, encoding)),
    };
    if !page.damaged.is_empty() {
        reply.list("damaged", page.damaged.iter(), |out, encoding, partition| {
            write_uint(out, encoding, u64::from(*partition));
        });
    }
    match next {
        Some(cursor) => reply.str("next", &cursor.text()),
        None => reply.null("next"),
    };
    reply.end();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_the_damaged_partitions_that_it_has_looked_at() {
        let text = |damaged| {
            let page = Page { damaged, ..Page::default() };
            String::from_utf8(written(Encoding::Json, None, false, &page, None)).unwrap()
        };
        assert_eq!(text(vec![]), r#"{"ok":true,"instances":[],"next":null}"#);
        assert_eq!(text(vec![3, 67]), r#"{"ok":true,"instances":[],"damaged":[3,67],"next":null}"#);
    }

    #[test]
    fn who_asks_for_lists_takes_turns_however_many_one_asks_for() {
        let list = |correlation| List {
            walk: Walk::new(
                Filter::read("m", None, Encoding::Json).unwrap(),
                Bounds { lines: 1, bytes: 1, looks: 1 },
                false,
                Place::default(),
                0,
            ),
            counts: false,
            encoding: Encoding::Json,
            id: None,
            correlation,
        };
        let mut lists = Lists::default();
        (1..=3).for_each(|correlation| lists.add(None, list(correlation)));
        lists.add(Some(ConnId::for_tests(7)), list(10));
        let mut turn = |ends: bool| {
            let list = lists.next()?;
            let correlation = list.correlation;
            lists.put_back((!ends).then_some(list));
            Some(correlation)
        };
        assert_eq!(
            [false, false, false, true, true, false, true, true].map(&mut turn),
            [1, 10, 1, 10, 1, 2, 2, 3].map(Some)
        );
        assert_eq!((turn(true), lists.is_empty()), (None, true));
    }

    #[test]
    fn a_cursor_reads_back_whatever_the_members_name() {
        let cursor = Cursor { place: Place { shard: 7, place: 4_000_000 }, member: "mesh-0.shop.svc".into() };
        assert_eq!(Cursor::parse(&cursor.text()), Some(cursor));
        assert_eq!(["", "k", "1.2", "1.2.", "x.2.a", "1.-2.a"].map(Cursor::parse), [const { None }; 6]);
    }
}
