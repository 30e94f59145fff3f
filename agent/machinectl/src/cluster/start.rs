//! `cluster start`: one machine again, with its disk or on an empty one.

use std::time::Instant;

use machine_pki::Secret;

use super::args::StartArgs;
use super::create::Making;
use super::image::Image;
use super::manage;
use super::vm::{self, Place, Start};
use crate::args::Common;
use crate::documents;
use crate::failure::Failure;
use crate::files;
use crate::identity;
use crate::session::{self, Session};
use crate::target;
use crate::wait::Progress;

/// Powers a machine on; one on an empty disk is followed until its node is Ready.
pub(super) async fn run(common: &Common, args: &StartArgs) -> Result<(), Failure> {
    let (folder, state) = manage::known(&args.name)?;
    let machine = manage::machine(&state, &args.machine)?.clone();
    let place = Place::new(&folder, &machine);
    if place.process().is_some() {
        return Err(
            Failure::usage(format!("{} runs", args.machine)).next(format!(
                "machinectl cluster stop {} {}",
                args.name, args.machine
            )),
        );
    }
    let boots = state.boots.clone().ok_or_else(|| {
        Failure::usage(format!(
            "local cluster {} was made by a version that did not keep how its machines boot",
            args.name
        ))
    })?;
    let image = Image::open(&boots.image)?;
    let start = Start {
        image: &image,
        speed: boots.speed,
        size: &boots.size,
        shared_port: state.shared_port,
    };
    if args.wipe {
        let secrets = documents::read_secrets(&folder.join("secrets.yaml"))?;
        let bundle = identity::enrolment_bundle(&secrets, &machine.name, &[])?;
        vm::make(&place, &bundle, &start).await?;
    }
    vm::start(&place, &machine, &start).await?;
    let console = place.console();
    crate::tell!("{}: started; console: {}", machine.name, console.display());
    if !args.wipe {
        return Ok(());
    }
    let path = folder.join(format!("{}.yaml", machine.name));
    let document = Secret::new(files::read_text(&path)?);
    let contexts = session::contexts()?;
    let context = contexts.find(&args.name).cloned().ok_or_else(|| {
        Failure::usage(format!("there is no context {}", args.name))
            .next("it was removed: machinectl cluster destroy, and create the cluster again")
    })?;
    let nodes = target::choose(&[], &context.nodes)?;
    let target = nodes.iter().find(|node| node.label() == machine.name);
    let target = target.ok_or_else(|| {
        Failure::usage(format!("context {} knows no {}", args.name, machine.name))
    })?;
    let began = Instant::now();
    let making = Making {
        folder: &folder,
        state: state.clone(),
        session: Session::of(context, session::limits(common)),
        speed: boots.speed,
        began,
    };
    // Its cluster is there: it joins, and nothing begins.
    let mut progress = Progress::since(&machine.name, began);
    making.one(target, &document, false, &mut progress).await
}
