//! `cluster create`: from an image to Ready nodes.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use machine_config::generate;
use machine_pki::Secret;
use machined_proto::v1::{BootstrapRequest, KubeconfigRequest};

use super::args::CreateArgs;
use super::image::Image;
use super::plan;
use super::probe::{self, Speed};
use super::state::{self, Boots, Machine, State};
use super::vm::{self, Place, Start};
use crate::args::Common;
use crate::context::Context;
use crate::enrol;
use crate::failure::{Failure, Kind};
use crate::files::{self, Access};
use crate::fleet;
use crate::identity::{self, Client};
use crate::kubeconfig::{self, Merge};
use crate::session::{self, Session};
use crate::target::{self, Target};
use crate::wait::{self, Goal, Progress};

/// From power-on to an answer, in seconds on common hardware.
const ENROL_SECONDS: u64 = 60;
/// From the config to the machine API with its own certificate.
const ACCEPT_SECONDS: u64 = 60;
/// From the order to Ready.
const READY_SECONDS: u64 = 300;

/// A cluster on its way.
pub(super) struct Making<'a> {
    pub(super) folder: &'a Path,
    pub(super) state: State,
    pub(super) session: Session,
    pub(super) speed: Speed,
    pub(super) began: Instant,
}

/// Makes a local cluster.
pub(super) async fn run(common: &Common, args: &CreateArgs) -> Result<(), Failure> {
    let began = Instant::now();
    let mut progress = Progress::since(&args.name, began);
    let folder = &state::folder(&args.name)?;
    let image = Image::open(&args.image)?;
    if folder.symlink_metadata().is_ok() {
        return Err(
            Failure::usage(format!("local cluster {} is there already", args.name))
                .next(format!("machinectl cluster destroy {}", args.name)),
        );
    }
    let state = plan::machines(args)?;
    progress.tell("speed", "trying a small machine");
    let speed = probe::measure(&image).await?;
    progress.tell("speed", &described(speed));
    let state = State {
        boots: Some(Boots {
            image: image.folder().to_owned(),
            size: args.size.clone(),
            speed,
        }),
        ..state
    };
    let (documents, bundles, context) = papers(&state, args, speed, folder)?;
    progress.tell("folder", &folder.display().to_string());

    // A context that is slow to answer is no news here: deadlines are longer than calls.
    let limits = session::limits(common);
    let session = Session::of(context, limits);
    let making = Making {
        folder,
        state,
        session,
        speed,
        began,
    };
    let common_start = Start {
        image: &image,
        speed,
        size: &args.size,
        shared_port: making.state.shared_port,
    };
    // Emulated machines take each other's processors, and what starts too slowly gives up and starts
    // again: one after the other all are up sooner.
    let machines = making.state.machines.as_slice();
    let together = if speed.kvm { machines.len() } else { 1 };
    let mut bundles = bundles.iter();
    for some in machines.chunks(together) {
        for (machine, bundle) in some.iter().zip(&mut bundles) {
            let place = making.place(machine);
            vm::make(&place, bundle, &common_start).await?;
            vm::start(&place, machine, &common_start).await?;
            progress.tell(
                &machine.name,
                &format!("started; console: {}", place.console().display()),
            );
        }
        making.bring_up(some, &documents).await?;
    }
    let path = making.kubeconfig().await?;
    progress.tell("cluster", "Ready");
    files::print(&format!(
        "export KUBECONFIG={path}\nkubectl get nodes\nmachinectl status\n\
         machinectl cluster destroy {}\n",
        args.name
    ))
}

fn described(speed: Speed) -> String {
    let how = if speed.kvm {
        "KVM runs machines"
    } else {
        "no KVM: machines are emulated"
    };
    format!(
        "{how}; waiting up to {:.0} times longer than on common hardware",
        speed.factor
    )
}

/// Secrets, documents, bundles and the context. The folder is described before anything
/// else is in it, so that `destroy` knows it.
fn papers(
    state: &State,
    args: &CreateArgs,
    speed: Speed,
    folder: &Path,
) -> Result<(Vec<Secret>, Vec<Secret>, Context), Failure> {
    let text = generate::secrets(SystemTime::now())
        .map_err(|error| Failure::failed(format!("make secrets: {error}")))?;
    let secrets = machine_config::read_secrets(text.expose().as_bytes())
        .map_err(|problems| Failure::failed(format!("read the new secrets: {problems}")))?;
    let documents = plan::documents(state, &secrets, args, speed)?;
    let bundles: Result<Vec<Secret>, Failure> = state
        .machines
        .iter()
        .map(|machine| identity::enrolment_bundle(&secrets, &machine.name, &[]))
        .collect();
    let mut contexts = session::contexts_to_change()?;
    let context =
        identity::new_context(&args.name, plan::nodes(state), &secrets, &Client::admin())?;
    contexts.add(context.clone(), false)?;
    contexts.make_current(&args.name)?;

    files::folder(folder, Access::Owner)?;
    state.save(folder)?;
    files::write(
        &folder.join("secrets.yaml"),
        text.expose().as_bytes(),
        Access::Owner,
    )?;
    for (machine, document) in state.machines.iter().zip(&documents) {
        let path = folder.join(format!("{}.yaml", machine.name));
        files::write(&path, document.expose().as_bytes(), Access::Owner)?;
    }
    contexts.save()?;
    Ok((documents, bundles?, context))
}

impl Making<'_> {
    fn place(&self, machine: &Machine) -> Place {
        Place::new(self.folder, machine)
    }

    fn targets(&self) -> Result<Vec<Target>, Failure> {
        target::choose(&[], &self.session.context.nodes)
    }

    async fn bring_up(&self, machines: &[Machine], documents: &[Secret]) -> Result<(), Failure> {
        let mut targets = self.targets()?;
        targets.retain(|target| machines.iter().any(|m| m.name == target.label()));
        let outcomes = fleet::ask(targets, |target| async move {
            let index = self
                .state
                .machines
                .iter()
                .position(|m| m.name == target.label());
            let found = index.and_then(|index| {
                self.state
                    .machines
                    .get(index)
                    .zip(documents.get(index))
                    .map(|pair| (index, pair))
            });
            let (index, (machine, document)) =
                found.ok_or_else(|| Failure::failed(format!("no document for {target}")))?;
            let mut progress = Progress::since(&machine.name, self.began);
            let done = self.one(&target, document, index == 0, &mut progress).await;
            done.map_err(|failure| self.with_console(machine, failure))
        })
        .await;
        fleet::conclude(outcomes).map_err(|failure| match failure.next {
            Some(_) => failure,
            None => failure.next(format!(
                "the machines are kept to look at: machinectl health; then machinectl cluster destroy {}",
                self.state.name
            )),
        })
    }

    /// One machine, from power-on to Ready. The others wait for the first by themselves.
    pub(super) async fn one(
        &self,
        target: &Target,
        document: &Secret,
        first: bool,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        self.enrol(target, document, progress).await?;
        if first {
            self.bootstrap(target, progress).await?;
        }
        // Control planes join one after the other, and machines share this host's processors.
        let machines = u64::try_from(self.state.machines.len()).unwrap_or(1);
        let deadline = self.speed.deadline(READY_SECONDS * machines);
        wait::follow(&self.session, target, Goal::Ready, deadline, progress)
            .await
            .map(drop)
    }

    async fn enrol(
        &self,
        target: &Target,
        document: &Secret,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let try_once = async || {
            let link = self.session.connect(target).await?;
            if !link.awaits_enrolment() {
                return Err(Failure::failed(format!("{target} has a config already")));
            }
            enrol::by_credential(&link, document.expose().as_bytes(), false).await
        };
        let deadline = self.speed.deadline(ENROL_SECONDS);
        progress.tell("enrolment", "waiting for the machine to answer");
        let generation = self.insist(target, deadline, "enrol", try_once).await?;
        progress.tell("enrolment", &format!("accepted as generation {generation}"));
        Ok(())
    }

    async fn bootstrap(&self, target: &Target, progress: &mut Progress) -> Result<(), Failure> {
        let try_once = async || {
            let link = self.session.connect(target).await?;
            link.call("bootstrap", link.machine().bootstrap(BootstrapRequest {}))
                .await
        };
        let deadline = self.speed.deadline(ACCEPT_SECONDS);
        let order = self
            .insist(target, deadline, "bootstrap", try_once)
            .await?
            .order;
        progress.tell("bootstrap", &format!("ordered ({order})"));
        Ok(())
    }

    /// Tries again while the machine is away, or between two certificates, until the time is up
    /// or its process has ended.
    async fn insist<T>(
        &self,
        target: &Target,
        deadline: Duration,
        verb: &str,
        try_once: impl AsyncFn() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let began = Instant::now();
        let machine = self
            .state
            .machines
            .iter()
            .find(|m| m.name == target.label());
        loop {
            let failure = match try_once().await {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            let passing = matches!(failure.kind, Kind::Unreachable | Kind::NotPermitted)
                || failure.message.contains("does not serve");
            if !passing {
                return Err(failure);
            }
            if machine.is_some_and(|machine| self.place(machine).process().is_none()) {
                return Err(Failure::failed(format!(
                    "{verb}: the process of {target} has ended"
                )));
            }
            if began.elapsed() > deadline {
                return Err(Failure {
                    message: format!(
                        "{verb}: given up after {}: {}",
                        crate::time::span(deadline),
                        failure.message
                    ),
                    ..failure
                });
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// What the console said last is most often the cause.
    fn with_console(&self, machine: &Machine, failure: Failure) -> Failure {
        let place = self.place(machine);
        Failure {
            message: format!(
                "{}\n  last lines of {}:\n    {}",
                failure.message,
                place.console().display(),
                place.last_lines(15)
            ),
            next: None,
            ..failure
        }
    }

    /// Writes a kubeconfig that leads through this host's port.
    async fn kubeconfig(&self) -> Result<String, Failure> {
        let targets = self.targets()?;
        let first = targets.first().zip(self.state.machines.first());
        let (target, machine) = first.ok_or_else(|| Failure::failed("the cluster is empty"))?;
        let link = self.session.connect(target).await?;
        let request = KubeconfigRequest {
            lifetime_seconds: 0,
        };
        let answer = link
            .call("kubeconfig", link.machine().kubeconfig(request))
            .await?;
        let fetched = String::from_utf8(answer.kubeconfig)
            .map_err(|_| Failure::failed(format!("{target}: its kubeconfig is no text")))?;
        let server = format!("https://127.0.0.1:{}", machine.kubernetes_port);
        let how = Merge {
            server: Some(&server),
            ..Merge::default()
        };
        let merged = kubeconfig::merge("", &fetched, how)?;
        let path = self.folder.join("kubeconfig");
        files::write(&path, merged.text.as_bytes(), Access::Owner)?;
        Ok(path.display().to_string())
    }
}
