//! A manager that does as it is told, at the other end of a socket pair.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use zbus::names::InterfaceName;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, ObjectPath, ObjectServer, OwnedObjectPath, Variant, fdo, interface};

use super::bench::Behaviour;

const MANAGER: &str = "/org/freedesktop/systemd1";

#[derive(Default)]
struct Script {
    on_disk: BTreeMap<String, Behaviour>,
    loaded: BTreeMap<String, Unit>,
    jobs: u32,
    reloads: usize,
    subscribed: bool,
    early: bool,
    on_start: Option<fn(&str)>,
}

#[derive(Clone)]
struct Unit {
    behaviour: Behaviour,
    active: &'static str,
    sub: &'static str,
    result: &'static str,
}

impl Script {
    /// As systemd: what runs, or has failed, stays as it was read until a
    /// reload; what rests is forgotten and read again.
    fn load(&mut self, name: &str) -> Option<&mut Unit> {
        self.loaded.retain(|_, unit| unit.active != "inactive");
        if !self.loaded.contains_key(name) {
            let behaviour = *self.on_disk.get(name)?;
            let unit = Unit {
                behaviour,
                active: "inactive",
                sub: "dead",
                result: "success",
            };
            self.loaded.insert(name.to_owned(), unit);
        }
        self.loaded.get_mut(name)
    }

    fn job(&mut self) -> (u32, OwnedObjectPath) {
        self.jobs += 1;
        let path = format!("{MANAGER}/job/{}", self.jobs);
        (self.jobs, path.try_into().unwrap())
    }

    fn stop(&mut self, name: &str, job: (u32, OwnedObjectPath)) -> Vec<Ended> {
        let unit = self.load(name).unwrap();
        (unit.active, unit.sub) = ("inactive", "dead");
        vec![Ended {
            job,
            unit: name.to_owned(),
            active: "inactive",
            result: "done",
        }]
    }

    /// Runs a unit's job: every job that ends with it, in order.
    fn run(&mut self, name: &str, job: (u32, OwnedObjectPath)) -> Vec<Ended> {
        if let Some(what) = self.on_start {
            what(name);
        }
        let unit = self.load(name).unwrap();
        let (active, sub, result, job_result) = match unit.behaviour {
            Behaviour::Works => ("active", "running", "success", "done"),
            Behaviour::Fails => ("failed", "failed", "exit-code", "failed"),
            Behaviour::IsGivenUp => ("inactive", "dead", "success", "timeout"),
            Behaviour::Needs(_) => ("inactive", "dead", "success", "dependency"),
            Behaviour::NeverStarts => ("activating", "start", "success", ""),
        };
        let behaviour = unit.behaviour;
        (unit.active, unit.sub, unit.result) = (active, sub, result);
        let mut ended = Vec::new();
        if let Behaviour::Needs(other) = behaviour {
            let other_job = self.job();
            ended = self.run(other, other_job);
        }
        if !job_result.is_empty() {
            ended.push(Ended {
                job,
                unit: name.to_owned(),
                active,
                result: job_result,
            });
        }
        ended
    }
}

struct Ended {
    job: (u32, OwnedObjectPath),
    unit: String,
    active: &'static str,
    result: &'static str,
}

type Shared = Arc<Mutex<Script>>;

/// The hand on the script.
pub(super) struct Double {
    script: Shared,
    server: Option<Connection>,
}

impl Double {
    /// A manager, and a client's connection to it.
    pub(super) async fn start() -> (Self, Connection) {
        let script = Shared::default();
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let manager = Manager(Arc::clone(&script));
        let server = zbus::connection::Builder::unix_stream(ours)
            .server(zbus::Guid::generate())
            .p2p()
            .serve_at(MANAGER, manager)
            .build();
        let client = zbus::connection::Builder::unix_stream(theirs).p2p().build();
        let (server, client) = futures_util::join!(server, client);
        let server = Some(server.unwrap());
        (Self { script, server }, client.unwrap())
    }

    pub(super) fn write(&self, name: &str, behaviour: Behaviour) {
        self.lock().on_disk.insert(name.to_owned(), behaviour);
    }

    pub(super) fn end_jobs_before_replying(&self) {
        self.lock().early = true;
    }

    pub(super) fn on_start(&self, what: fn(&str)) {
        self.lock().on_start = Some(what);
    }

    pub(super) fn reloads(&self) -> usize {
        self.lock().reloads
    }

    pub(super) async fn crash(&self, name: &str) {
        if let Some(unit) = self.lock().load(name) {
            (unit.active, unit.sub, unit.result) = ("failed", "failed", "signal");
        }
        changed(self.server.as_ref().unwrap(), name, "failed").await;
    }

    pub(super) async fn die(&mut self) {
        if let Some(server) = self.server.take() {
            server.close().await.unwrap();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }
}

/// A unit's name as the last part of its object's path.
pub(super) fn label(name: &str) -> String {
    let byte = |(index, byte): (usize, u8)| match byte {
        b'a'..=b'z' | b'A'..=b'Z' => char::from(byte).to_string(),
        b'0'..=b'9' if index > 0 => char::from(byte).to_string(),
        _ => format!("_{byte:02x}"),
    };
    name.bytes().enumerate().map(byte).collect()
}

fn path(name: &str) -> OwnedObjectPath {
    let path = format!("{MANAGER}/unit/{}", label(name));
    path.try_into().unwrap()
}

async fn changed(connection: &Connection, name: &str, active: &str) {
    let emitter = SignalEmitter::new(connection, path(name)).unwrap();
    let interface = InterfaceName::from_static_str("org.freedesktop.systemd1.Unit").unwrap();
    let properties = HashMap::from([("ActiveState", Variant::from(active))]);
    fdo::Properties::properties_changed(&emitter, interface, properties, [].as_slice().into())
        .await
        .unwrap();
}

async fn tell(connection: Connection, ended: Vec<Ended>) {
    let emitter = SignalEmitter::new(&connection, MANAGER).unwrap();
    for end in ended {
        changed(&connection, &end.unit, end.active).await;
        let (id, job) = end.job;
        let told = Manager::job_removed(&emitter, id, job.into(), &end.unit, end.result).await;
        told.unwrap();
    }
}

/// As `ListUnitsByNames` gives them: name, description, load, active and sub state, what it follows, its
/// object, and its job's number, type and object.
type Listed = (
    String,
    String,
    String,
    String,
    String,
    String,
    OwnedObjectPath,
    u32,
    String,
    OwnedObjectPath,
);

struct Manager(Shared);

#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.freedesktop.systemd1")]
enum Refused {
    #[zbus(error)]
    ZBus(zbus::Error),
    NoSuchUnit(String),
}

impl Manager {
    async fn queue(
        &self,
        name: &str,
        mode: &str,
        run: fn(&mut Script, &str, (u32, OwnedObjectPath)) -> Vec<Ended>,
        connection: &Connection,
    ) -> Result<OwnedObjectPath, Refused> {
        assert_eq!(mode, "replace");
        let (job, ended, early) = {
            let mut script = self.0.lock().unwrap();
            if script.load(name).is_none() {
                return Err(Refused::NoSuchUnit(format!("Unit {name} not found.")));
            }
            let job = script.job();
            let ended = run(&mut script, name, job.clone());
            // Without a subscription nobody is told anything.
            let ended = if script.subscribed { ended } else { Vec::new() };
            (job, ended, script.early)
        };
        let telling = tell(connection.clone(), ended);
        if early {
            telling.await;
        } else {
            tokio::spawn(telling);
        }
        Ok(job.1)
    }
}

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    fn subscribe(&self) {
        self.0.lock().unwrap().subscribed = true;
    }

    async fn reload(&self, #[zbus(signal_emitter)] emitter: SignalEmitter<'_>) -> fdo::Result<()> {
        Self::reloading(&emitter, true).await?;
        {
            let mut script = self.0.lock().unwrap();
            script.reloads += 1;
            let on_disk = script.on_disk.clone();
            for (name, unit) in &mut script.loaded {
                unit.behaviour = on_disk[name];
            }
        }
        Ok(Self::reloading(&emitter, false).await?)
    }

    async fn load_unit(
        &self,
        name: String,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> fdo::Result<OwnedObjectPath> {
        let view = || View(Arc::clone(&self.0), name.clone());
        self.0.lock().unwrap().load(&name);
        server.at(path(&name), view()).await?;
        server.at(path(&name), Service(view())).await?;
        Ok(path(&name))
    }

    async fn list_units_by_names(
        &self,
        names: Vec<String>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> fdo::Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for name in names {
            let path = self.load_unit(name.clone(), server).await?;
            let view = View(Arc::clone(&self.0), name.clone());
            listed.push((
                name,
                String::new(),
                view.load_state().to_owned(),
                view.active_state().to_owned(),
                view.sub_state().to_owned(),
                String::new(),
                path.clone(),
                0,
                String::new(),
                path,
            ));
        }
        Ok(listed)
    }

    async fn start_unit(
        &self,
        name: String,
        mode: String,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Refused> {
        self.queue(&name, &mode, Script::run, connection).await
    }

    async fn restart_unit(
        &self,
        name: String,
        mode: String,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Refused> {
        self.queue(&name, &mode, Script::run, connection).await
    }

    async fn stop_unit(
        &self,
        name: String,
        mode: String,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Refused> {
        self.queue(&name, &mode, Script::stop, connection).await
    }

    async fn reload_or_restart_unit(
        &self,
        name: String,
        mode: String,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Refused> {
        self.queue(&name, &mode, Script::run, connection).await
    }

    fn reset_failed_unit(&self, name: String) -> Result<(), Refused> {
        match self.0.lock().unwrap().load(&name) {
            Some(unit) if unit.active == "failed" => (unit.active, unit.sub) = ("inactive", "dead"),
            Some(_) => {}
            None => return Err(Refused::NoSuchUnit(format!("Unit {name} not loaded."))),
        }
        Ok(())
    }

    #[zbus(signal)]
    async fn job_removed(
        emitter: &SignalEmitter<'_>,
        id: u32,
        job: ObjectPath<'_>,
        unit: &str,
        result: &str,
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn reloading(emitter: &SignalEmitter<'_>, active: bool) -> zbus::Result<()>;
}

/// A unit's object.
struct View(Shared, String);

impl View {
    fn read<T>(&self, part: impl Fn(&Unit) -> T) -> Option<T> {
        // Whoever asks has it read again, should it have been forgotten meanwhile.
        self.0.lock().unwrap().load(&self.1).map(|unit| part(unit))
    }
}

#[interface(name = "org.freedesktop.systemd1.Unit")]
impl View {
    #[zbus(property)]
    fn load_state(&self) -> &str {
        self.read(|_| "loaded").unwrap_or("not-found")
    }

    #[zbus(property)]
    fn active_state(&self) -> &str {
        self.read(|unit| unit.active).unwrap_or("inactive")
    }

    #[zbus(property)]
    fn sub_state(&self) -> &str {
        self.read(|unit| unit.sub).unwrap_or("dead")
    }
}

/// The same object as a service.
struct Service(View);

#[interface(name = "org.freedesktop.systemd1.Service")]
impl Service {
    #[zbus(property)]
    fn result(&self) -> &str {
        self.0.read(|unit| unit.result).unwrap_or("success")
    }

    #[zbus(property)]
    fn exec_main_status(&self) -> i32 {
        0
    }

    #[zbus(property, name = "NRestarts")]
    fn restarts(&self) -> u32 {
        0
    }
}
