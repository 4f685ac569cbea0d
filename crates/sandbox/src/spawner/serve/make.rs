//! Making sandboxes: from a request to a running init.

use std::os::fd::{AsFd, OwnedFd};

use super::Server;
use crate::cgroup::{self, Limits};
use crate::error::{Context, SandboxError};
use crate::init;
use crate::isolation::Isolation;
use crate::net::{Attachment, Uplinks};
use crate::protocol::Reply;
use crate::spawner::check;
use crate::spawner::live::{Live, kill_signal};
use crate::spawner::token::Token;
use crate::spec::SandboxSpec;
use crate::sys::poll::Interest;
use crate::sys::process::{self, Clone};
use crate::sys::socket::{self, Pair};

impl Server {
    pub(super) fn create(&mut self, key: u64, spec: &SandboxSpec, fds: Vec<OwnedFd>) {
        match self.try_create(key, spec, fds) {
            Ok(live) => {
                self.live.insert(key, live);
            }
            Err(error) => self.reply(&Reply::Failed { key, error, gone_follows: false }, &[]),
        }
    }

    fn try_create(&mut self, key: u64, spec: &SandboxSpec, fds: Vec<OwnedFd>) -> Result<Live, SandboxError> {
        if self.closing.is_some() {
            return Err(SandboxError::ShutDown);
        }
        check::check(spec)?;
        if self.live.values().any(|live| live.id == spec.id) {
            return Err(SandboxError::Spec(format!("id {} belongs to another live sandbox", spec.id)));
        }
        let attachment = match spec.network.uplink {
            Some(uplink) => Some(self.uplinks.as_mut().map_err(|why| why.clone())?.assign(uplink)?),
            None => None,
        };
        let Some(slot) = self.slots.take() else {
            self.give_back(attachment.as_ref());
            return Err(SandboxError::NoFreeUid(self.identity.count));
        };
        if let Some(Err(error)) = attachment.as_ref().map(Attachment::admit) {
            self.slots.give_back(slot);
            self.give_back(attachment.as_ref());
            return Err(SandboxError::step("put under network policy", &error));
        }
        let ids = self.identity.of_slot(slot);
        let limits = Limits {
            memory_bytes: spec.memory_bytes,
            tmp_bytes: spec.tmp_bytes,
            // Init is one of them.
            pids_max: spec.pids_max.saturating_add(1),
            cpu_quota_us: spec.cpu_quota_us,
        };
        let result = self.place.create(&spec.id, &limits).and_then(|mut group| {
            match self.clone_init(key, spec, &fds, ids, group.as_mut(), attachment.as_ref()) {
                Ok((pid, init, status, zygote)) => Ok(Live {
                    id: spec.id.clone(),
                    slot,
                    ids,
                    kill_signal: kill_signal(self.isolation),
                    pid,
                    init,
                    status: Some(status),
                    group,
                    zygote,
                    attachment: attachment.clone(),
                    tmp: None,
                    members: None,
                    memory_bytes: spec.memory_bytes,
                    created: false,
                    reported: false,
                    out_of_memory: false,
                    watched: false,
                    looked_at: 0,
                    removal: None,
                }),
                Err(error) => {
                    let _ = group.remove();
                    Err(error)
                }
            }
        });
        if result.is_err() {
            self.slots.give_back(slot);
            if let Some(mut attachment) = attachment {
                attachment.expel();
                self.give_back(Some(&attachment));
            }
        }
        result
    }

    pub(super) fn give_back(&mut self, attachment: Option<&Attachment>) {
        if let (Some(attachment), Ok(uplinks)) = (attachment, &mut self.uplinks) {
            uplinks.give_back(attachment);
        }
    }

    fn clone_init(
        &self,
        key: u64,
        spec: &SandboxSpec,
        fds: &[OwnedFd],
        ids: (u32, u32),
        group: &mut dyn cgroup::Group,
        attachment: Option<&Attachment>,
    ) -> Result<(i32, OwnedFd, OwnedFd, Option<u64>), SandboxError> {
        let missing = || SandboxError::Spec("descriptors are missing".to_owned());
        let fd = |number: usize| fds.get(number).map(AsFd::as_fd).ok_or_else(missing);
        let (ours, theirs) = socket::socket_pair(Pair::Messages).step("make status socket")?;
        let zygote = spec.zygote.as_ref().and_then(|name| self.zygotes.ready(name));
        let late_entries = if zygote.is_some() { group.late_entries()? } else { Vec::new() };
        let entries = if late_entries.is_empty() { group.entries() } else { &late_entries };
        let way = zygote.map(|(_, socket)| init::fork::Way { socket, cgroup_entries: entries });
        let input = init::Input {
            spec,
            ids,
            clears_groups: self.identity.clears_groups,
            makes_devices: self.isolation == Isolation::Root,
            has_group: self.place.limits(),
            kill_signal: kill_signal(self.isolation),
            folder: group.folder(),
            status: theirs.as_fd(),
            output: fd(0)?,
            channels: if spec.channel { Some((fd(1)?, fd(2)?)) } else { None },
            gate: match (spec.helpers.is_empty(), spec.channel) {
                (true, _) => None,
                (false, true) => Some(fd(3)?),
                (false, false) => Some(fd(1)?),
            },
            cgroup_entries: group.entries(),
            threshold: group.threshold(),
            attachment: attachment.zip(self.uplinks.as_ref().ok().map(Uplinks::namespace)),
            filters: &self.filters,
            zygote: way,
        };
        let namespaces = if self.isolation.has_namespaces() { init::CLONE_NAMESPACES } else { 0 };
        let cloned = process::clone_process(namespaces, group.clone_target());
        let (pid, init) = match cloned.step("clone init")? {
            Clone::Child => init::run(&input),
            Clone::Parent { pid, pidfd } => (pid, pidfd),
        };
        group.cloned();
        let watched = self
            .poller
            .add(ours.as_fd(), Interest::Readable, Token::Status(key).number())
            .and_then(|()| self.poller.add(init.as_fd(), Interest::Readable, Token::End(key).number()))
            .and_then(|()| match group.memory_events() {
                Some((memory, interest)) => self.poller.add(memory, interest, Token::Memory(key).number()),
                None => Ok(()),
            });
        if let Err(error) = watched {
            let _ = process::pidfd_signal(init.as_fd(), libc::SIGKILL);
            let _ = process::wait_for(Some(pid));
            return Err(SandboxError::step("watch init", &error));
        }
        Ok((pid, init, ours, zygote.map(|(number, _)| number)))
    }
}
