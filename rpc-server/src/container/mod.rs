// SPDX-License-Identifier: Apache-2.0
//! The container side: born in the container's namespaces, it furnishes the root file system, makes
//! it the root directory, gives up what the process may not have, and becomes the process.

mod chroot;
mod console;
mod gate;
mod hide;
mod home;
mod kernel;
mod mounts;
mod nodes;
mod process;
mod program;
mod root;

use std::os::fd::OwnedFd;

use outrigger_protocol::frame::FrameKind;
use outrigger_protocol::phase::{self, ContainerPhase, Rule};
use outrigger_protocol::process::{Process, Strings};
use outrigger_protocol::request::{NamespaceType, Namespaces};
use outrigger_protocol::seccomp::Filter;
use outrigger_protocol::{Channel, ContainerKind, ContainerRequest, Reply};

use crate::error::{Context, OpError, Result};
use crate::procfs::Procfs;
use crate::server::{Answer, Side, serve};
use crate::sys::process as sys;
use console::Terminal;
use hide::Covers;
use program::{Program, StringPieces};
use root::Root;

/// What the host side knows about the new process.
pub(crate) struct Settings {
    /// Its namespaces.
    pub(crate) namespaces: Namespaces,
    /// Whether it got there.
    pub(crate) entered: Result<()>,
    /// Whether the container was there before.
    pub(crate) joined: bool,
}

/// Serves the master on this socket and becomes the container's process.
pub(crate) fn run(socket: OwnedFd, settings: Settings) -> ! {
    // Until it is the container's process it must not outlive the master. If that is dead already,
    // the socket says so.
    let _ = sys::set_parent_death_signal(libc::SIGKILL);
    let _ = sys::set_name(c"outrigger-init");
    let mut channel = Channel::new(socket, FrameKind::Reply, FrameKind::Container);
    let mut session = Session::new(settings);
    let ended = serve(&mut channel, &mut session);
    drop(channel);
    if let (Ok(()), Some(program), Some(listener)) = (ended, session.program, session.listener) {
        gate::wait(&listener, &program);
    }
    #[allow(clippy::exit, reason = "a copy of the host side's process, which has its own way out")]
    std::process::exit(1)
}

/// What the container side holds on to during a conversation.
struct Session {
    namespaces: Namespaces,
    entered: Result<()>,
    joined: bool,
    root: Option<Root>,
    procfs: Option<Procfs>,
    covers: Covers,
    terminal: Option<Terminal>,
    strings: StringPieces,
    filter: Option<Filter>,
    process: Option<Process>,
    program: Option<Program>,
    outlives_master: bool,
    listener: Option<OwnedFd>,
}

impl Session {
    fn new(settings: Settings) -> Self {
        Self {
            namespaces: settings.namespaces,
            entered: settings.entered,
            joined: settings.joined,
            root: None,
            procfs: None,
            covers: Covers::default(),
            terminal: None,
            strings: StringPieces::default(),
            filter: None,
            process: None,
            program: None,
            outlives_master: false,
            listener: None,
        }
    }

    fn root(&self) -> Result<&Root> {
        self.root.as_ref().ok_or_else(|| OpError::refused("the root is not open"))
    }

    /// Whatever changes mounts must not be the host's.
    fn own_mounts(&self) -> Result<()> {
        self.own(NamespaceType::Mount)
    }

    fn own(&self, kind: NamespaceType) -> Result<()> {
        if self.namespaces.get(kind).is_some() {
            return Ok(());
        }
        Err(OpError::refused(format!("the container has no {} namespace of its own", kind.name())))
    }

    fn procfs(&mut self) -> Result<&Procfs> {
        if self.procfs.is_none() {
            self.procfs = Some(Procfs::open()?);
        }
        self.procfs.as_ref().ok_or_else(|| OpError::refused("no procfs"))
    }

    fn strings(&mut self, strings: &Strings) -> Result<()> {
        self.strings.append(strings.list, &strings.piece)
    }

    /// Becomes everything but the program.
    fn ready(&mut self) -> Result<()> {
        let process = self.process.take().ok_or_else(|| OpError::refused("no process"))?;
        if let Some(value) = process.oom_score_adj {
            kernel::set_oom_score_adj(self.procfs()?, value)?;
        }
        let mut program = Program::new(&std::mem::take(&mut self.strings))?;
        let filter = self.filter.take();
        let terminal = self.terminal.take();
        // Whoever may not gain privileges may install a filter at any time: then it is the last thing
        // before the program. Else it takes a privilege, and comes before that goes.
        let (early, late) = if process.no_new_privileges { (None, filter) } else { (filter, None) };
        process::apply(&process, self.root()?, terminal, early.as_ref())?;
        program.filter_with(late);
        self.program = Some(program.located(&process.cwd)?.at_home(process.uid));
        self.outlives_master = !process.dies_with_master;
        // Nothing of the host may stay open behind the process.
        self.root = None;
        self.procfs = None;
        self.covers = Covers::default();
        Ok(())
    }

    /// From here on the end of the master is not the end of this process, unless it asked for that.
    fn outlive_master(&self) -> Result<()> {
        if self.outlives_master {
            sys::set_parent_death_signal(0).during(|| "prctl(PR_SET_PDEATHSIG)")?;
        }
        Ok(())
    }

    fn wait(&mut self, listener: Option<OwnedFd>) -> Result<Answer> {
        let listener = listener.ok_or_else(|| OpError::refused("Wait came without a socket"))?;
        self.outlive_master()?;
        self.listener = Some(listener);
        Ok(Answer { last: true, ..Answer::done() })
    }

    fn start(&mut self) -> Result<Answer> {
        let program = self.program.take().ok_or_else(|| OpError::refused("no program"))?;
        self.outlive_master()?;
        Err(program.execute())
    }
}

impl Side for Session {
    type Request = ContainerRequest;
    type Kind = ContainerKind;

    fn kind(request: &ContainerRequest) -> ContainerKind {
        request.kind()
    }

    fn table(&self) -> &'static [Rule<ContainerKind, ContainerPhase>] {
        if self.joined { phase::JOINED } else { phase::CONTAINER }
    }

    fn perform(&mut self, request: ContainerRequest, mut fds: Vec<OwnedFd>) -> Result<Answer> {
        let listener = if request.kind() == ContainerKind::Wait { fds.pop() } else { None };
        if !fds.is_empty() {
            return Err(OpError::refused("the request came with a descriptor too many"));
        }
        match request {
            ContainerRequest::Hello(greeting) => {
                std::mem::replace(&mut self.entered, Ok(()))?;
                if self.joined {
                    self.root = Some(Root::current()?);
                }
                return crate::host::hello(greeting);
            }
            ContainerRequest::Rootfs(r) => {
                self.root = Some(Root::set_up(&r, self.own_mounts().is_ok())?);
            }
            ContainerRequest::Mount(m) => {
                self.own_mounts()?;
                mounts::mount(self.root()?, &m)?;
            }
            ContainerRequest::Mkdir(r) => nodes::mkdir(self.root()?, &r)?,
            ContainerRequest::Touch(r) => nodes::touch(self.root()?, &r)?,
            ContainerRequest::Symlink(r) => nodes::symlink(self.root()?, &r)?,
            ContainerRequest::Mknod(r) => {
                self.own_mounts()?;
                nodes::mknod(self.root()?, &r)?;
            }
            ContainerRequest::Console(r) => {
                let (terminal, master) = Terminal::open(self.root()?, r)?;
                if !self.joined {
                    self.own_mounts()?;
                    terminal.put_on_console(self.root()?)?;
                }
                self.terminal = Some(terminal);
                return Ok(Answer::with_fd(Reply::Console, master));
            }
            ContainerRequest::MaskPath(path) => {
                self.own_mounts()?;
                let root = self.root.as_ref().ok_or_else(|| OpError::refused("no root"))?;
                self.covers.mask(root, &path)?;
            }
            ContainerRequest::ReadonlyPath(path) => {
                self.own_mounts()?;
                hide::make_readonly(self.root()?, &path)?;
            }
            ContainerRequest::SetHostname(name) => {
                self.own(NamespaceType::Uts)?;
                kernel::set_hostname(&name)?;
            }
            ContainerRequest::SetDomainname(name) => {
                self.own(NamespaceType::Uts)?;
                kernel::set_domainname(&name)?;
            }
            ContainerRequest::Sysctl(sysctl) => {
                self.own(kernel::namespace_of(&sysctl.file)?)?;
                kernel::write_sysctl(self.procfs()?, &sysctl)?;
            }
            ContainerRequest::LoopbackUp => {
                self.own(NamespaceType::Network)?;
                kernel::loopback_up()?;
            }
            ContainerRequest::Chroot(how) => chroot::chroot(self.root()?, how, self.own_mounts())?,
            ContainerRequest::ReadonlyRoot => {
                self.own_mounts()?;
                self.root()?.make_readonly()?;
            }
            ContainerRequest::Strings(s) => self.strings(&s)?,
            ContainerRequest::Seccomp(filter) => self.filter = Some(filter),
            ContainerRequest::Process(p) => self.process = Some(p),
            ContainerRequest::Ready => self.ready()?,
            ContainerRequest::Wait => return self.wait(listener),
            ContainerRequest::Start => return self.start(),
        }
        Ok(Answer::done())
    }
}
