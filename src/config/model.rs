//! The configuration's structs: every name, type, default, limit and description, once. The reader, the effective
//! configuration, the JSON Schema and `docs/CONFIG.md` are all made from these declarations.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::address::HostPort;
use super::check::Check;
use super::headers::Headers;
use super::rule::Rule;
use super::secret_source::SourcedSecret;
use super::setting::Origin::{Inherited, Lent, Required, Unset};
use super::setting::{fixed, settings, words};
use super::size::Size;
use super::word::{OnImpaired, Workers};
use failover_core::model::{OnLoss, OnNoSyncStandby, Policy, Role, ServiceKind};
use failover_core::sample::FenceLevel;

settings! {
    /// The whole configuration.
    pub struct Root {
        /// The version of this format. Always 1.
        version: u32 = Required, Rule::Range(1, 1);
        /// A set of defaults. `original`: the figures of the contract (`interval` 10 s, `timeout` 5 s), for people who want
        /// few probes and have time; the times that depend on them are stretched to match.
        preset: Option<Preset> = Unset;
        /// The folder of the journal: what must survive the engine. Only one engine may use it.
        state_dir: PathBuf = fixed("/var/lib/failover");
        /// The UNIX socket on which the daemon takes commands. Default: `control.sock` in `state_dir`.
        control_socket: Option<PathBuf> = Unset;
        /// The engine itself.
        engine: EngineSettings = Unset;
        /// The things that must stay up.
        services: Vec<Service> = Required, Rule::NotEmpty;
    }

    /// The engine itself.
    pub struct EngineSettings {
        /// How many checks can run at the same moment: a number, or `auto` for one per check, at most 64, and more where so many
        /// would be under way with a tenth of the servers silent, up to 128 for each processor.
        workers: Workers = fixed("auto"), Rule::Range(1, 1024);
        /// A name for this engine, shown to the servers it watches as `libfailover/NAME`.
        instance: Option<String> = Unset, Rule::Name;
        /// So many failovers may begin by themselves within a minute. Where more services fail, one alarm asks a person about all the
        /// others, and each waits for `failover confirm`. Default: any number below 10 services that can be moved, then a tenth of them.
        max_concurrent_failovers: Option<u32> = Unset, Rule::Range(1, 10_000);
        /// Seeds the jitter of the schedule. Give engines that watch the same servers different ones.
        seed: u64 = fixed(0);
        /// Where a small HTTP server tells load balancers who is active: an IP address and a port, `127.0.0.1:8008`; with port 0
        /// a free one, shown by the status. `/SERVICE/SERVER` is 200 only while the engine knows that this server is the active one
        /// and serves, else 503. Whoever can connect may ask; nothing can be changed there.
        role_endpoint: Option<SocketAddr> = Unset;
        /// The circuit breakers around what the survey asks: a host over SSH, a server over SQL, the route. Checks, fence,
        /// promotion and the steps of the route have none: a failover is never refused by a breaker.
        breaker: Breaker = Unset;
    }

    /// The circuit breakers around what the survey asks.
    pub struct Breaker {
        /// Failures in a row after which something is not asked any more.
        failure_threshold: u32 = fixed(5), Rule::Range(1, 1000);
        /// How long it is left alone then. A server that changes meanwhile is asked at once.
        recovery_timeout: Duration = fixed("30s"), Rule::Span("1s", "1h");
        /// After that, this many questions are tried; if all succeed it is asked as before, if one fails it is left alone again.
        half_open_requests: u32 = fixed(3), Rule::Range(1, 100);
    }

    /// One thing that must stay up: its servers, checks, trigger and plan.
    pub struct Service {
        /// Its name, unique in the file.
        name: String = Required, Rule::Name;
        /// What it is.
        kind: ServiceKind = fixed("postgres");
        /// How to connect to its PostgreSQL servers; each server may override single keys.
        connection: Connection = Lent("connection");
        /// How to reach the hosts of its servers over SSH; each server may override single keys. Without it the host cannot be
        /// asked, and the fence is limited to what `fence.command` and the route can do.
        ssh: Option<Ssh> = Lent("ssh");
        /// Timing of all its checks; each check may override single keys.
        check_defaults: Timing = Lent("check_defaults");
        /// Its members.
        servers: Vec<Server> = Required, Rule::NotEmpty;
        /// Checks beside the implicit one: every server of a `postgres` service has a check `SERVER/postgres` anyway.
        checks: Vec<Check> = Unset;
        /// When to act.
        trigger: Trigger = Unset;
        /// How a standby becomes the primary.
        promote: Promote = Unset;
        /// How much may be lost, and what replication must look like.
        data: Data = Unset;
        /// What must be proven of the old primary before another one is made.
        fence: Fence = Unset;
        /// Where the traffic goes through.
        route: Route = Unset;
        /// Names that follow the primary. They are routing, never a fence, and a change that fails undoes no failover.
        dns: Vec<Dns> = Unset;
        /// Another service that this one follows, as an application follows its database.
        follows: Option<Follows> = Unset;
        /// Commands that must succeed before anything is changed; otherwise a person is called.
        pre_checks: Vec<PreCheck> = Unset;
    }

    /// A PostgreSQL connection.
    pub struct Connection {
        /// The role that watches and promotes.
        user: String = fixed("failover"), Rule::Line;
        /// Its password.
        password: Option<SourcedSecret> = Unset;
        /// The database to connect to.
        database: String = fixed("postgres"), Rule::Line;
        /// Whether to use TLS, and how much of it to verify, as in libpq.
        sslmode: SslMode = fixed("prefer");
        /// The file of certificate authorities to trust (PEM). Default: those of the system.
        sslrootcert: Option<PathBuf> = Unset;
        /// The client's certificate (PEM); needs `sslkey`.
        sslcert: Option<PathBuf> = Unset;
        /// The key of the client's certificate (PEM, PKCS#8, not encrypted).
        sslkey: Option<PathBuf> = Unset;
    }

    /// An SSH connection to the host of a server.
    pub struct Ssh or false {
        /// Where the SSH server is. Default: the server's `host`.
        host: Option<String> = Unset, Rule::Host;
        /// Its port.
        port: u16 = fixed(22), Rule::Range(1, 65_535);
        /// The account that owns the data directory.
        user: String = fixed("postgres"), Rule::Word;
        /// The file with the hosts' keys. A host that is not in it is never trusted.
        known_hosts: PathBuf = fixed("~/.ssh/known_hosts");
        /// Private keys, tried in order.
        keys: Vec<PathBuf> = Unset;
        /// Opens the private keys.
        passphrase: Option<SourcedSecret> = Unset;
        /// Logs in by password.
        password: Option<SourcedSecret> = Unset;
        /// Use the keys of the SSH agent of the engine's process.
        agent: bool = fixed(false);
        /// The account is limited by `command=` to the shipped wrapper: send only verbs and arguments.
        wrapper: bool = fixed(false);
        /// Words put before every command, such as `["sudo", "-n"]`.
        sudo: Vec<String> = Unset, Rule::Line;
        /// Starts the server on its host, by whoever watches over it there, such as `["sudo", "-n", "systemctl", "start",
        /// "postgresql@15-main"]`. Default: `pg_ctl start`. With the wrapper `--start-command` in `authorized_keys` says it.
        start_command: Vec<String> = Unset, Rule::Line;
    }

    /// When and how often a check runs, and what its results mean.
    pub struct Timing {
        /// Between the starts of two runs while all is well.
        interval: Duration = fixed("1s"), Rule::Span("50ms", "1h");
        /// Between the starts of two runs while a verdict is changing.
        fast_interval: Duration = fixed("25ms"), Rule::Span("5ms", "10m");
        /// The overall deadline of one run. Not exactly 1 s: that is when a lost SYN is sent again.
        timeout: Duration = fixed("1.5s"), Rule::Span("10ms", "10m");
        /// Failures in a row until the check is `unhealthy`.
        failure_threshold: u32 = fixed(3), Rule::Range(1, 1000);
        /// Successes in a row until the check is `healthy`.
        success_threshold: u32 = fixed(2), Rule::Range(1, 1000);
    }

    /// One member of a service.
    pub struct Server {
        /// Its name, unique in the service.
        name: String = Required, Rule::Name;
        /// What it was when this file was written. One server of a `postgres` service must say `primary`: at a first start it is waited
        /// for before another server is taken for the primary. From then on recovery flag, timeline and journal decide, and after a
        /// failover nothing has to be changed here.
        role: Role = fixed("standby");
        /// Its name, address, or the folder of its UNIX socket (starting with `/`).
        host: String = Required, Rule::Host;
        /// Its port.
        port: u16 = fixed(5432), Rule::Range(1, 65_535);
        /// Its data directory on its host: the fence finds the server's processes by it. Needed where `ssh` is used, but not with
        /// `wrapper = true`: there it is written in `authorized_keys` of that host and this one is not used.
        data_dir: Option<String> = Unset, Rule::HostPath;
        /// The folder of `pg_ctl` on its host. Default: found there.
        bin_dir: Option<String> = Unset, Rule::HostPath;
        /// The folder of its UNIX socket on its host. Default: found there.
        socket_dir: Option<String> = Unset, Rule::HostPath;
        /// Among equally good candidates the higher one is promoted.
        priority: u32 = fixed(100), Rule::Range(0, 1000);
        /// It may be promoted.
        candidate: bool = fixed(true);
        /// Its name in `pg_stat_replication` (`application_name`), where that cannot be read from the standby itself.
        replication_name: Option<String> = Unset, Rule::Line;
        /// How to connect to it. Default, key by key: the service's `connection`.
        connection: Connection = Inherited("connection");
        /// How to reach its host. Default, key by key: the service's `ssh`. `false`: not at all.
        ssh: Option<Ssh> = Inherited("ssh");
        /// The implicit check `SERVER/postgres` of a `postgres` service. Default of its timing, key by key: `check_defaults`.
        check: PostgresCheck = Inherited("check_defaults");
    }

    /// The implicit check of a PostgreSQL server.
    pub struct PostgresCheck {
        /// The query; its answer must have a row.
        query: String = fixed("SELECT 1"), Rule::Prose;
        /// Also commit a trivial write, which leaves nothing behind. Its failure alone is `impaired`.
        write_probe: bool = fixed(false);
    }
    +
    /// Its timing.
    timing: Timing;

    /// When to act.
    pub struct Trigger {
        /// Failed observations of the primary within `failure_window`. A death that its host proves needs one refused connection.
        failure_threshold: u32 = fixed(3), Rule::Range(1, 1000);
        /// How long a failed observation counts.
        failure_window: Duration = fixed("60s"), Rule::Span("100ms", "1d");
        /// How the checks of the primary are weighed together: `count` adds up their failures, `all` wants every check at its
        /// own threshold, `{ quorum = N }` wants N of them there.
        policy: Policy = fixed("count");
        /// From the end of one failover, an operator's too, to the earliest start of the next by itself.
        cooldown: Duration = fixed("300s"), Rule::Span("0s", "7d");
        /// Wait for an operator's `failover confirm`.
        require_confirmation: bool = fixed(false);
        /// How long to wait for the operator before going back to monitoring, alarmed.
        confirm_timeout: Duration = fixed("300s"), Rule::Span("1s", "7d");
        /// For a whole failover, up to "traffic verified".
        failover_timeout: Duration = fixed("120s"), Rule::Span("1s", "1d");
        /// Silence this long since the last answer of any probe is a hung server.
        hang_after: Duration = fixed("3.4s"), Rule::Span("100ms", "1h");
        /// Between two pings of the session that is kept open.
        ping_interval: Duration = fixed("250ms"), Rule::Span("10ms", "10m");
        /// How long an announced shutdown may take to come back.
        restart_grace: Duration = fixed("10s"), Rule::Span("0s", "1h");
        /// A primary that is alive but not serving for this long counts as failed, and one whose announced stop is held not before `restart_grace` is over; `never`: alarm only.
        on_impaired: OnImpaired = fixed("never"), Rule::Span("1s", "7d");
    }

    /// How a standby becomes the primary.
    pub struct Promote {
        /// By what.
        method: PromoteMethod = fixed("pg_promote");
        /// The command of method `command`, as a list of arguments; no shell.
        command: Vec<String> = Unset, Rule::Argv;
        /// For the new primary to leave recovery.
        timeout: Duration = fixed("60s"), Rule::Span("1s", "1h");
    }

    /// How much may be lost, and what replication must look like.
    pub struct Data {
        /// More possible loss than this refuses the failover. With synchronous replication nothing acknowledged is lost, but of sessions whose `synchronous_commit` is `off` or `local`: where a role or a database has that set, this limit applies.
        max_lag_bytes: Size = fixed("1MiB"), Rule::Bytes(0, 1 << 50);
        /// What to do when the possible loss is above the limit, or unknown.
        on_loss: OnLoss = fixed("refuse");
        /// What to do when commits on the new primary wait for a synchronous standby that is not there.
        on_no_sync_standby: OnNoSyncStandby = fixed("async");
        /// Allow the promotion of a standby with `recovery_min_apply_delay`.
        allow_delayed: bool = fixed(false);
    }

    /// What must be proven of the old primary before another one is made.
    pub struct Fence {
        /// The level to reach for a dead or hung primary. 0 nothing; 1 traffic removed; 2 no standby can acknowledge;
        /// 3 every process of the data directory proven gone; 4 power or volume cut.
        require: FenceLevel = fixed(3), Rule::Range(0, 4);
        /// For all rungs of the fence together.
        timeout: Duration = fixed("10s"), Rule::Span("100ms", "1h");
        /// A command that cuts power or volume of a server (level 4), as a list of arguments; no shell. The server's name is in
        /// `FAILOVER_SERVER`. Exit code 0 means: cut for certain.
        command: Vec<String> = Unset, Rule::Argv;
        /// The deadline of that command.
        command_timeout: Duration = fixed("10s"), Rule::Span("100ms", "1h");
    }

    /// Where the traffic goes through.
    pub struct Route {
        /// Every client comes through this route and can come no other way. Then level 1 is enough for a host that cannot be
        /// reached: say so only if it is true.
        exclusive: bool = fixed(false);
        /// Addresses of the route (`host:port`) through which the traffic is verified after a failover. For an application they are
        /// asked by HTTP, and `identity` says how an answer shows who gave it.
        verify: Vec<HostPort> = Unset;
        /// Of an application: a command that ends with 0 once the server named in `FAILOVER_SERVER` answers through the route; for
        /// what does not speak HTTP. A list of arguments; no shell.
        verify_command: Vec<String> = Unset, Rule::Argv;
        /// Of an application: how long a standby that got the traffic may take to be seen through the route. After that the next
        /// one gets it, or everything goes back to what it was.
        verify_timeout: Duration = fixed("5s"), Rule::Span("100ms", "10m");
        /// Of an application: what `verify` asks, and how the answer shows which server gave it.
        identity: Identity = Unset;
        /// How long the weight of a server that got the traffic grows in HAProxy, from a tenth of its full weight to all of it, in
        /// tenths. That is of use where the backend has other servers too that take traffic beside it; give them weights of 10 and more.
        /// The full weight is `haproxy.weight`, or else that of HAProxy's file. Default: it has its weight at once.
        weight_ramp: Option<Duration> = Unset, Rule::Span("1s", "1h");
        /// The HAProxy processes that carry the traffic. All of them must be listed. Each
        /// starts with every standby `disabled`, as in `contrib/haproxy.cfg`.
        haproxy: Vec<Haproxy> = Unset;
        /// Every PgBouncer in front of the servers of a `postgres` service, on the engine's own machine: its clients wait during a failover.
        pgbouncer: Vec<Pgbouncer> = Unset;
        /// Commands that move traffic in other ways: an address, a cloud's load balancer, a pooler.
        command: Vec<RouteCommand> = Unset;
    }

    /// A command that moves traffic. It learns from its environment what it is for: `FAILOVER_SERVER`, `FAILOVER_HOST` and
    /// `FAILOVER_PORT` (the server that shall get the traffic, or lose it), `FAILOVER_STEP` (`route_in`, `route_out`, `route_restore`,
    /// `route_rollback`), `FAILOVER_SERVICE`, `FAILOVER_GENERATION`, and `FAILOVER_IDEMPOTENCY_KEY`, the same whenever the same step
    /// of the same failover is tried again. Exit code 0 means: done. Its output, up to 64 KiB, is kept and its last line shown.
    pub struct RouteCommand {
        /// Its name, unique in the service.
        name: String = Required, Rule::Name;
        /// Sends the traffic to a server. A list of arguments; no shell. It may be run again for the same server.
        command: Vec<String> = Required, Rule::Argv;
        /// Takes the traffic from a server, before it is fenced. A list of arguments; no shell. Default: nothing is done then.
        out: Vec<String> = Unset, Rule::Argv;
        /// The deadline of each.
        timeout: Duration = fixed("10s"), Rule::Span("100ms", "10m");
    }

    /// How a server of an application shows through the route which one it is.
    pub struct Identity {
        /// The path of the request.
        path: String = fixed("/"), Rule::Line;
        /// Ask by HTTPS.
        tls: bool = fixed(false);
        /// The host name to ask for (`Host` and the name of TLS). Default: the host of the address.
        server_name: Option<String> = Unset, Rule::Host;
        /// The file of certificate authorities to trust (PEM). Default: those of the system.
        ca_file: Option<PathBuf> = Unset;
        /// The status codes of a server that serves.
        expect_status: Vec<u16> = fixed([200, 201, 204]), Rule::Range(100, 599);
        /// The header of the answer that names the server. Default: its body does.
        header: Option<String> = Unset, Rule::Word;
        /// What each server calls itself there: the whole value of the header, or a part of the body. Default: its name.
        values: BTreeMap<String, String> = Unset, Rule::Line;
    }

    /// One HAProxy process.
    pub struct Haproxy {
        /// Its name, unique in the service.
        name: String = Required, Rule::Name;
        /// Its admin socket (`stats socket PATH level admin`).
        socket: Option<PathBuf> = Unset;
        /// The address of its admin socket, where it is a TCP one.
        address: Option<HostPort> = Unset;
        /// The backend that holds the servers.
        backend: String = Required, Rule::HaproxyName;
        /// The names of our servers in that backend. Default: the same names.
        servers: BTreeMap<String, String> = Unset, Rule::HaproxyName;
        /// The weight given to the new primary. Default: the one it has. With 0 it would take nothing. A balance that takes no weights
        /// (`static-rr`, a map-based hash) leaves it the one it has, with `weight_ramp` too.
        weight: Option<u32> = Unset, Rule::Range(1, 256);
    }

    /// A name that follows the primary. Beside HAProxy or a command it is changed when the traffic is verified there, and again until it
    /// works; alone it is the route.
    pub struct Dns {
        /// The name, such as `app.example.com`.
        name: String = Required, Rule::Word;
        /// The type of the record.
        record_type: DnsType = fixed("A");
        /// How long resolvers may keep it, in seconds: clients follow that much later.
        ttl: u32 = fixed(60), Rule::Range(0, 86_400);
        /// What it holds while a server is the primary. Default: that server's `host`, where it is such an address.
        values: BTreeMap<String, String> = Unset, Rule::Word;
        /// By what it is changed.
        provider: DnsProvider = Required;
        /// The longest a change may take, until every server of the zone has it.
        timeout: Duration = fixed("2m"), Rule::Span("100ms", "10m");
        /// Servers of the zone that are asked whether they have it. With `rfc2136` the `server` is asked anyway.
        verify: Vec<HostPort> = Unset;
        /// Resolvers that are asked what they still remember: only told of.
        resolvers: Vec<HostPort> = Unset;
        /// Of `rfc2136`: the zone's primary name server.
        server: Option<HostPort> = Unset;
        /// Of `rfc2136`: the zone, such as `example.com`.
        zone: Option<String> = Unset, Rule::Word;
        /// Of `rfc2136`: the name of the TSIG key.
        key_name: Option<String> = Unset, Rule::Word;
        /// Of `rfc2136`: the algorithm of the key.
        key_algorithm: TsigAlgorithm = fixed("hmac-sha256");
        /// Of `rfc2136`: the secret of the key, in base64.
        key_secret: Option<SourcedSecret> = Unset;
        /// Of `route53`: the hosted zone's ID.
        zone_id: Option<String> = Unset, Rule::Word;
        /// Of `route53`: this profile of the shared files. Default: the usual chain of credentials (environment, shared files,
        /// container, instance).
        profile: Option<String> = Unset, Rule::Line;
        /// Of `route53`: this access key; with `secret_access_key`.
        access_key_id: Option<String> = Unset, Rule::Word;
        /// Of `route53`: the secret of `access_key_id`.
        secret_access_key: Option<SourcedSecret> = Unset;
        /// Of `route53`: another endpoint than Amazon's.
        endpoint: Option<String> = Unset, Rule::Url;
        /// Of `route53`: the region that requests are signed for.
        region: String = fixed("us-east-1"), Rule::Word;
        /// Of `route53`: the ID of each server's health check. When the name moves, that of the server it points to then is changed
        /// as said here, with its version; a failed change is a warning. Its interval cannot be changed once it exists.
        health_checks: BTreeMap<String, String> = Unset, Rule::Word;
        /// Checks in a row that change the mind of the active server's health check.
        health_check_threshold: u32 = fixed(2), Rule::Range(1, 10);
        /// Whether the active server's health check is enabled. Route 53 takes a disabled one for healthy.
        health_check_enabled: bool = fixed(true);
        /// What becomes of the health checks of all other servers.
        health_check_others: HealthCheckOthers = fixed("keep");
    }

    /// A PgBouncer. The engine runs on its machine, is in its `admin_users`, and rewrites the lines of its databases in a file that
    /// its `pgbouncer.ini` includes.
    pub struct Pgbouncer {
        /// Its name, unique in the service.
        name: String = Required, Rule::Name;
        /// Where its admin console is: a name, an address, or the folder of its UNIX socket (starting with `/`).
        host: String = fixed("127.0.0.1"), Rule::Host;
        /// Its port.
        port: u16 = fixed(6432), Rule::Range(1, 65_535);
        /// The user of the admin console, one of `admin_users`.
        user: String = fixed("pgbouncer"), Rule::Line;
        /// Its password.
        password: Option<SourcedSecret> = Unset;
        /// Whether to use TLS to the admin console, as in libpq.
        sslmode: SslMode = fixed("prefer");
        /// The databases of PgBouncer that belong to this service.
        databases: Vec<String> = Required, Rule::Line;
        /// The file with their lines, `NAME = host=… port=…`. Only host and port are changed in it.
        file: PathBuf = Required;
        /// Where PgBouncer finds a server, `host:port`, by our name of it. Default: the server's own `host` and `port`.
        servers: BTreeMap<String, HostPort> = Unset;
        /// The longest that it may take to send the traffic to a server.
        timeout: Duration = fixed("5s"), Rule::Span("100ms", "10m");
    }

    /// How a service follows another one: when that has a new primary, first the command, then the switch.
    pub struct Follows or false {
        /// The name of the other service.
        service: String = Required, Rule::Name;
        /// What tells whoever has to know of the new primary, as a list of arguments; no shell. It is in `FAILOVER_FOLLOWED_SERVER`,
        /// `FAILOVER_FOLLOWED_HOST` and `FAILOVER_FOLLOWED_PORT`. Tried again until it ends with exit code 0.
        command: Vec<String> = Unset, Rule::Argv;
        /// The longest that the command may take.
        timeout: Duration = fixed("30s"), Rule::Span("100ms", "1h");
        /// Which server of this service is to be active beside which primary of the other one: `{ db1 = "app1", db2 = "app2" }`. Only of
        /// an application; a primary that is not named moves nothing.
        with: BTreeMap<String, String> = Unset, Rule::Name;
        /// While the other service is in trouble or not yet followed, failures of this one are taken for its and move nothing, for
        /// this long since the first of them.
        hold: Duration = fixed("30s"), Rule::Span("0s", "1h");
    }

    /// A command that must succeed before anything is changed.
    pub struct PreCheck {
        /// Its name, unique in the service.
        name: String = Required, Rule::Name;
        /// The command, as a list of arguments; no shell.
        command: Vec<String> = Required, Rule::Argv;
        /// Its deadline.
        timeout: Duration = fixed("10s"), Rule::Span("10ms", "1h");
    }

    /// The keys of a check of kind `postgres`: a new connection, a query, an answer.
    pub struct PostgresProbe {
        /// The query; its answer must have a row.
        query: String = fixed("SELECT 1"), Rule::Prose;
        /// Also commit a trivial write, which leaves nothing behind. Its failure alone is `impaired`.
        write_probe: bool = fixed(false);
    }

    /// The keys of a check of kind `tcp`: a connection is accepted.
    pub struct TcpProbe {
        /// Where. Default: the server's `host`.
        host: Option<String> = Unset, Rule::Host;
        /// Its port. Default: the server's `port`.
        port: Option<u16> = Unset, Rule::Range(1, 65_535);
    }

    /// The keys of a check of kind `http`: a request and the right answer.
    pub struct HttpProbe {
        /// What to ask. Credentials belong into `headers`.
        url: String = Required, Rule::Url;
        /// The request's method.
        method: HttpMethod = fixed("GET");
        /// The status codes that are right.
        expect_status: Vec<u16> = fixed([200, 201, 204]), Rule::Range(100, 599);
        /// A text the body must contain.
        expect_body: Option<String> = Unset, Rule::Prose;
        /// Headers of the request; a value may be a secret from elsewhere, as a password may.
        headers: Headers = Unset;
        /// How many redirects are followed.
        max_redirects: u32 = fixed(5), Rule::Range(0, 20);
        /// How much of the body is read; more is an error.
        max_body: Size = fixed("1MiB"), Rule::Bytes(1, 64 << 20);
        /// The host name to ask for (`Host` and the name of TLS) where it is not the one of `url`.
        server_name: Option<String> = Unset, Rule::Host;
        /// The file of certificate authorities to trust (PEM). Default: those of the system.
        ca_file: Option<PathBuf> = Unset;
    }

    /// The keys of a check of kind `exec`: a command's exit code.
    pub struct ExecProbe {
        /// The command, as a list of arguments; no shell. Exit code 0 is `up`.
        command: Vec<String> = Required, Rule::Argv;
    }

    /// The keys of a check of kind `host`: the program that embeds the engine answers.
    pub struct HostProbe {
        /// The name under which the program registered it. Default: the check's name.
        function: Option<String> = Unset, Rule::Line;
    }

    /// The keys of a check of kind `scripted`: answers from a script, for tests.
    pub struct ScriptedProbe {
        /// The answers, one for each run; the last one is repeated.
        answers: Vec<String> = Required, Rule::Line;
    }
}

/// A set of defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Preset {
    /// The figures of the contract: fewer probes, slower verdicts.
    Original,
}

/// Whether to use TLS, and how much of it to verify, as in libpq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SslMode {
    /// Never.
    Disable,
    /// If the server can.
    Prefer,
    /// Always, with whoever answers.
    Require,
    /// Always, with a certificate of a trusted authority.
    VerifyCa,
    /// Always, with a certificate of a trusted authority for this host.
    VerifyFull,
}

/// How a standby is promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PromoteMethod {
    /// `pg_promote()` over SQL.
    PgPromote,
    /// `pg_ctl promote` over SSH.
    PgCtl,
    /// A command.
    Command,
}

/// The type of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DnsType {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// Another name.
    Cname,
}

/// By what a record is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DnsProvider {
    /// Amazon Route 53.
    Route53,
    /// Dynamic updates, signed by TSIG.
    Rfc2136,
}

/// What becomes of a health check whose server is not active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HealthCheckOthers {
    /// Nothing.
    Keep,
    /// It is enabled.
    Enable,
    /// It is disabled.
    Disable,
}

/// The algorithm of a TSIG key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TsigAlgorithm {
    /// HMAC with SHA-1.
    Sha1,
    /// HMAC with SHA-256.
    Sha256,
    /// HMAC with SHA-384.
    Sha384,
    /// HMAC with SHA-512.
    Sha512,
}

/// The method of an HTTP request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpMethod {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST` with an empty body
    Post,
    /// `OPTIONS`
    Options,
}

words! {
    Preset {
        Preset::Original = "original", "the figures of the contract: fewer probes, slower verdicts";
    }
    SslMode {
        SslMode::Disable = "disable", "never";
        SslMode::Prefer = "prefer", "if the server can";
        SslMode::Require = "require", "always, with whoever answers";
        SslMode::VerifyCa = "verify-ca", "always, with a certificate of a trusted authority";
        SslMode::VerifyFull = "verify-full", "always, with a certificate of a trusted authority for this host";
    }
    PromoteMethod {
        PromoteMethod::PgPromote = "pg_promote", "`pg_promote()` over SQL";
        PromoteMethod::PgCtl = "pg_ctl", "`pg_ctl promote` over SSH";
        PromoteMethod::Command = "command", "a command";
    }
    DnsType {
        DnsType::A = "A", "an IPv4 address";
        DnsType::Aaaa = "AAAA", "an IPv6 address";
        DnsType::Cname = "CNAME", "another name";
    }
    DnsProvider {
        DnsProvider::Route53 = "route53", "Amazon Route 53";
        DnsProvider::Rfc2136 = "rfc2136", "dynamic updates signed by TSIG (RFC 2136, RFC 8945)";
    }
    HealthCheckOthers {
        HealthCheckOthers::Keep = "keep", "they stay as they are";
        HealthCheckOthers::Enable = "enable", "they are enabled";
        HealthCheckOthers::Disable = "disable", "they are disabled: Route 53 takes them for healthy, and asks no more";
    }
    TsigAlgorithm {
        TsigAlgorithm::Sha1 = "hmac-sha1", "only for servers that know no better";
        TsigAlgorithm::Sha256 = "hmac-sha256", "what `tsig-keygen` makes";
        TsigAlgorithm::Sha384 = "hmac-sha384", "longer";
        TsigAlgorithm::Sha512 = "hmac-sha512", "longer still";
    }
    HttpMethod {
        HttpMethod::Get = "GET", "read it";
        HttpMethod::Head = "HEAD", "read only the headers";
        HttpMethod::Post = "POST", "with an empty body";
        HttpMethod::Options = "OPTIONS", "ask what is allowed";
    }
    ServiceKind {
        ServiceKind::Postgres = "postgres", "a primary with streaming standbys";
        ServiceKind::Application = "application", "application servers: the traffic goes from one that fails to one that is well";
    }
    Role {
        Role::Primary = "primary", "takes the writes";
        Role::Standby = "standby", "follows the primary";
    }
    OnLoss {
        OnLoss::Refuse = "refuse", "stop and call a person";
        OnLoss::Proceed = "proceed", "go on, and say so in the record";
    }
    OnNoSyncStandby {
        OnNoSyncStandby::Async = "async", "clear `synchronous_standby_names`, reported and journaled";
        OnNoSyncStandby::Block = "block", "leave commits waiting";
    }
}
