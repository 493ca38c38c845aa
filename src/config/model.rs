//! The configuration's structs: every name, type, default, limit and description, once. The reader, the effective
//! configuration, the JSON Schema and `docs/CONFIG.md` are all made from these declarations.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::address::HostPort;
use super::check::Check;
use super::headers::Headers;
use super::notify::Notify;
use super::rule::Rule;
use super::secret_source::SourcedSecret;
use super::setting::Origin::{Inherited, Lent, Required, Unset};
use super::setting::{fixed, settings, words};
use super::size::Size;
use super::word::{OnImpaired, Workers};
use failover_core::model::{
    OnLoss, OnNewPrimary, OnNoSyncStandby, OnRejoin, OnSalvage, OnSynchronous, Policy, Role, ServiceKind,
};
use failover_core::sample::FenceLevel;
use failover_core::switchover::OnPauseTimeout;

settings! {
    /// The whole configuration.
    pub struct Root {
        /// The version of this format. It is always 1.
        version: u32 = Required, Rule::Range(1, 1);
        /// A set of defaults. `original` has the figures of the contract (`interval` 10 s, `timeout` 5 s), for users who want few
        /// probes and accept slow verdicts. The times that depend on these figures are longer too.
        preset: Option<Preset> = Unset;
        /// The folder of the journal, which must survive a restart of the engine. Only one engine may use it.
        state_dir: PathBuf = fixed("/var/lib/failover");
        /// The UNIX socket on which the daemon accepts commands. Default: `control.sock` in `state_dir`.
        control_socket: Option<PathBuf> = Unset;
        /// Settings of the engine itself.
        engine: EngineSettings = Unset;
        /// Who is told what happens: webhooks, e-mail, commands. At most 16. `docs/NOTIFY.md` has an example for each.
        notify: Vec<Notify> = Unset;
        /// The services that the engine keeps available.
        services: Vec<Service> = Required, Rule::NotEmpty;
    }

    /// Settings of the engine itself.
    pub struct EngineSettings {
        /// How many checks can run at the same time: a number, or `auto`. `auto` means one per check, at most 64, and more if so
        /// many checks would be running while a tenth of the servers is silent, up to 128 for each processor.
        workers: Workers = fixed("auto"), Rule::Range(1, 1024);
        /// A name for this engine. The watched servers see it as `libfailover/NAME`.
        instance: Option<String> = Unset, Rule::Name;
        /// The maximum number of failovers that begin automatically within a minute. If more services fail, one alarm calls a
        /// person for all the others, and each of them waits for `failover confirm`. Default: no limit below 10 services that can
        /// fail over, then a tenth of these services.
        max_concurrent_failovers: Option<u32> = Unset, Rule::Range(1, 10_000);
        /// The seed for the jitter of the schedule. Use different seeds for engines that watch the same servers.
        seed: u64 = fixed(0);
        /// The address of a small HTTP server that tells load balancers which server is active: an IP address and a port, such as
        /// `127.0.0.1:8008`. Port 0 selects a free port, and the status shows it. `/SERVICE/SERVER` returns 200 only while the
        /// engine knows that this server is the active one and serves, else 503. Everybody who can connect may ask, and can
        /// change nothing.
        role_endpoint: Option<SocketAddr> = Unset;
        /// The circuit breakers of the survey, for what it asks: a host over SSH, a server over SQL, the route. Checks, fence,
        /// promotion and the steps of the route have no circuit breaker: a circuit breaker never causes the refusal of a
        /// failover.
        breaker: Breaker = Unset;
    }

    /// The circuit breakers of the survey.
    pub struct Breaker {
        /// The number of consecutive failures after which the survey stops asking.
        failure_threshold: u32 = fixed(5), Rule::Range(1, 1000);
        /// How long the survey then does not ask. If a server changes meanwhile, the survey asks it at once.
        recovery_timeout: Duration = fixed("30s"), Rule::Span("1s", "1h");
        /// After that, the survey tries this many requests. If all succeed, it continues as before; if one fails, it stops asking
        /// again.
        half_open_requests: u32 = fixed(3), Rule::Range(1, 100);
    }

    /// One service that the engine keeps available: its servers, checks, trigger and plan.
    pub struct Service {
        /// Its name, unique in the file.
        name: String = Required, Rule::Name;
        /// The kind of the service.
        kind: ServiceKind = fixed("postgres");
        /// How to connect to its PostgreSQL servers. Each server may override single keys.
        connection: Connection = Lent("connection");
        /// How to reach the hosts of its servers over SSH. Each server may override single keys. Without `ssh` the engine cannot
        /// ask the host, and the fence is limited to `fence.command` and the route.
        ssh: Option<Ssh> = Lent("ssh");
        /// The timing of all its checks. Each check may override single keys.
        check_defaults: Timing = Lent("check_defaults");
        /// The servers of the service.
        servers: Vec<Server> = Required, Rule::NotEmpty;
        /// Additional checks. Every server of a `postgres` service has an implicit check `SERVER/postgres`.
        checks: Vec<Check> = Unset;
        /// When a failover starts.
        trigger: Trigger = Unset;
        /// How a standby becomes the primary.
        promote: Promote = Unset;
        /// How much data may be lost, and what the engine requires of replication.
        data: Data = Unset;
        /// What holds for a switchover, which is ordered by an operator.
        switchover: Switchover = Unset;
        /// What the engine must prove about the old primary before it promotes a standby.
        fence: Fence = Unset;
        /// The route of the traffic.
        route: Route = Unset;
        /// DNS names that follow the primary. They are routing and never a fence. A change that fails does not undo a failover.
        dns: Vec<Dns> = Unset;
        /// Another service that this service follows, like an application that follows its database.
        follows: Option<Follows> = Unset;
        /// Commands that must succeed before the engine changes anything. If one fails, the engine calls a person.
        pre_checks: Vec<PreCheck> = Unset;
    }

    /// A PostgreSQL connection.
    pub struct Connection {
        /// The role with which the engine watches and promotes.
        user: String = fixed("failover"), Rule::User;
        /// Its password.
        password: Option<SourcedSecret> = Unset;
        /// The database to connect to.
        database: String = fixed("postgres"), Rule::Line;
        /// Whether to use TLS, and what to verify, as in libpq.
        sslmode: SslMode = fixed("prefer");
        /// The file of trusted certificate authorities (PEM). Default: those of the system.
        sslrootcert: Option<PathBuf> = Unset;
        /// The client's certificate (PEM). It needs `sslkey`.
        sslcert: Option<PathBuf> = Unset;
        /// The key of the client's certificate (PEM, PKCS#8, not encrypted).
        sslkey: Option<PathBuf> = Unset;
    }

    /// An SSH connection to the host of a server.
    pub struct Ssh or false {
        /// The address of the SSH server. Default: the server's `host`.
        host: Option<String> = Unset, Rule::Host;
        /// Its port.
        port: u16 = fixed(22), Rule::Range(1, 65_535);
        /// The account that owns the data directory.
        user: String = fixed("postgres"), Rule::Word;
        /// The file with the hosts' keys. The engine never trusts a host that is not in it.
        known_hosts: PathBuf = fixed("~/.ssh/known_hosts");
        /// The private keys, which are tried in this order.
        keys: Vec<PathBuf> = Unset;
        /// The passphrase of the private keys.
        passphrase: Option<SourcedSecret> = Unset;
        /// The password for the login.
        password: Option<SourcedSecret> = Unset;
        /// Whether to use the keys of the SSH agent of the engine's process.
        agent: bool = fixed(false);
        /// Whether `command=` limits the account to the shipped wrapper. The engine then sends only verbs and arguments.
        wrapper: bool = fixed(false);
        /// Words to put before every command, such as `["sudo", "-n"]`.
        sudo: Vec<String> = Unset, Rule::Line;
        /// The command that starts the server on its host through its supervisor, such as `["sudo", "-n", "systemctl", "start",
        /// "postgresql@15-main"]`. Default: `pg_ctl start`. With the wrapper, use `--start-command` in `authorized_keys` instead.
        start_command: Vec<String> = Unset, Rule::Line;
        /// A file on that host which says how it reaches the other servers, for `failover rejoin`, `failover clone` and the return after a
        /// switchover: lines `NAME CONNINFO`. With the wrapper, use `--source-file` in `authorized_keys` instead.
        source_file: Option<String> = Unset, Rule::HostPath;
    }

    /// When and how often a check runs, and what its results mean.
    pub struct Timing {
        /// The time between the starts of two runs while the check is healthy.
        interval: Duration = fixed("1s"), Rule::Span("50ms", "1h");
        /// The time between the starts of two runs while the verdict is changing.
        fast_interval: Duration = fixed("25ms"), Rule::Span("5ms", "10m");
        /// The overall deadline of one run. Do not use exactly 1 s: a lost SYN is sent again at this moment.
        timeout: Duration = fixed("1.5s"), Rule::Span("10ms", "10m");
        /// The number of consecutive failures after which the check is `unhealthy`.
        failure_threshold: u32 = fixed(3), Rule::Range(1, 1000);
        /// The number of consecutive successes after which the check is `healthy`.
        success_threshold: u32 = fixed(2), Rule::Range(1, 1000);
    }

    /// One server of a service.
    pub struct Server {
        /// Its name, unique in the service.
        name: String = Required, Rule::Name;
        /// The role of the server when this file was written. One server of a `postgres` service must have the role `primary`: at
        /// the first start, the engine waits for this server before it accepts another one as the primary. From then on recovery
        /// flag, timeline and journal decide, and you need not change this key after a failover.
        role: Role = fixed("standby");
        /// Its host name, its address, or the folder of its UNIX socket (starting with `/`).
        host: String = Required, Rule::Host;
        /// Its port.
        port: u16 = fixed(5432), Rule::Range(1, 65_535);
        /// Its data directory on its host, by which the fence finds the server's processes. The key is needed with `ssh`, but not
        /// with `wrapper = true`: then the directory is in `authorized_keys` of that host, and this key is not used.
        data_dir: Option<String> = Unset, Rule::HostPath;
        /// The folder of `pg_ctl` on its host. Default: the engine finds it there.
        bin_dir: Option<String> = Unset, Rule::HostPath;
        /// The folder of its UNIX socket on its host. Default: the engine finds it there.
        socket_dir: Option<String> = Unset, Rule::HostPath;
        /// Of equally good candidates the engine promotes the one with the highest priority.
        priority: u32 = fixed(100), Rule::Range(0, 1000);
        /// Whether the engine may promote this server.
        candidate: bool = fixed(true);
        /// Its name in `pg_stat_replication` (`application_name`), if the engine cannot read it from the standby itself.
        replication_name: Option<String> = Unset, Rule::Line;
        /// Where its standbys connect to, if that is another address than the engine's: a name or an address. Default: `host`.
        replication_host: Option<String> = Unset, Rule::Host;
        /// The port there. Default: `port`.
        replication_port: Option<u16> = Unset, Rule::Range(1, 65_535);
        /// How to connect to it. Default, key by key: the service's `connection`.
        connection: Connection = Inherited("connection");
        /// How to reach its host. Default, key by key: the service's `ssh`. `false`: the engine does not use SSH for this server.
        ssh: Option<Ssh> = Inherited("ssh");
        /// The implicit check `SERVER/postgres` of a `postgres` service. Default of its timing, key by key: `check_defaults`.
        check: PostgresCheck = Inherited("check_defaults");
    }

    /// The implicit check of a PostgreSQL server.
    pub struct PostgresCheck {
        /// The query. Its result must have a row.
        query: String = fixed("SELECT 1"), Rule::Prose;
        /// Whether to also commit a trivial write, which leaves nothing behind. If only this write fails, the verdict is
        /// `impaired`.
        write_probe: bool = fixed(false);
    }
    +
    /// Its timing.
    timing: Timing;

    /// When a failover starts.
    pub struct Trigger {
        /// The number of failed observations of the primary within `failure_window`. If the host proves the death, one refused
        /// connection is enough.
        failure_threshold: u32 = fixed(3), Rule::Range(1, 1000);
        /// How long a failed observation counts.
        failure_window: Duration = fixed("60s"), Rule::Span("100ms", "1d");
        /// How the checks of the primary are combined: `count` adds up their failures, `all` requires that every check reaches
        /// its own threshold, `{ quorum = N }` requires this of N checks.
        policy: Policy = fixed("count");
        /// The minimum time from the end of a failover (also one of an operator) to the start of the next automatic one.
        cooldown: Duration = fixed("300s"), Rule::Span("0s", "7d");
        /// Whether to wait for an operator's `failover confirm`.
        require_confirmation: bool = fixed(false);
        /// How long to wait for the operator. After this time the engine raises an alarm and only monitors.
        confirm_timeout: Duration = fixed("300s"), Rule::Span("1s", "7d");
        /// The time limit for a whole failover, up to "traffic verified".
        failover_timeout: Duration = fixed("120s"), Rule::Span("1s", "1d");
        /// If no probe gets an answer for this long, the server counts as hung.
        hang_after: Duration = fixed("3.4s"), Rule::Span("100ms", "1h");
        /// The time between two pings of the kept-open session.
        ping_interval: Duration = fixed("250ms"), Rule::Span("10ms", "10m");
        /// How long a server may take to come back after an announced shutdown.
        restart_grace: Duration = fixed("10s"), Rule::Span("0s", "1h");
        /// A primary that is alive but does not serve for this long counts as failed. If its announced stop is held up, this is
        /// not before the end of `restart_grace`. `never` means alarm only.
        on_impaired: OnImpaired = fixed("never"), Rule::Span("1s", "7d");
    }

    /// How a standby becomes the primary.
    pub struct Promote {
        /// The method of promotion.
        method: PromoteMethod = fixed("pg_promote");
        /// The command of method `command`, as a list of arguments; there is no shell.
        command: Vec<String> = Unset, Rule::Argv;
        /// The time limit for the new primary to leave recovery.
        timeout: Duration = fixed("60s"), Rule::Span("1s", "1h");
    }

    /// How much data may be lost, and what the engine requires of replication.
    pub struct Data {
        /// The engine refuses a failover with more possible loss than this. With synchronous replication no acknowledged commit
        /// is lost, except those of sessions whose `synchronous_commit` is `off` or `local`. If a role or a database has such a
        /// setting, this limit applies.
        max_lag_bytes: Size = fixed("1MiB"), Rule::Bytes(0, 1 << 50);
        /// What to do when the possible loss is above the limit, or unknown.
        on_loss: OnLoss = fixed("refuse");
        /// What to do when commits on the new primary wait for a synchronous standby that is not connected.
        on_no_sync_standby: OnNoSyncStandby = fixed("async");
        /// Whether the engine may promote a standby with `recovery_min_apply_delay`.
        allow_delayed: bool = fixed(false);
        /// Whether log that only the old primary's disk has is carried to the standby before its promotion, once the fence has
        /// proven that no process of the old primary is left (level 3). With asynchronous replication that is what no standby had
        /// received. It needs SSH to both hosts, and a standby whose `restore_command` looks into `failover-spool`.
        salvage: OnSalvage = fixed("auto");
        /// The time limit for that. The outage can be longer by this.
        salvage_timeout: Duration = fixed("2s"), Rule::Span("100ms", "10m");
        /// Whether the other standbys are pointed to the new primary after a failover (`primary_conninfo`). A standby that streams from
        /// another standby stays with it.
        followers: OnNewPrimary = fixed("auto");
        /// Who keeps `synchronous_standby_names`: an administrator, or the engine, which takes a standby out of it that is gone and puts one in
        /// that streams again.
        synchronous: OnSynchronous = fixed("manual");
        /// With `synchronous = "maintain"`: the number of standbys that a commit waits for. `on_no_sync_standby` says what happens
        /// while fewer can acknowledge.
        synchronous_count: u32 = fixed(1), Rule::Range(1, 8);
        /// With `synchronous = "maintain"`: a standby that does not stream, or does not answer the engine, for so long is taken out. If commits
        /// wait for it, they wait as long.
        synchronous_timeout: Duration = fixed("5s"), Rule::Span("1s", "1h");
        /// Whether the engine brings an old primary back as a standby by itself, once its failover is over and the host answers. `failover
        /// rejoin` does so by an order. The host needs `ssh.source_file`.
        rejoin: OnRejoin = fixed("manual");
    }

    /// A switchover through PgBouncer: how long clients may wait for the transactions that run on.
    pub struct Switchover {
        /// The time that running transactions have to end, once PgBouncer lets no new one begin. Clients wait that long at most
        /// for nothing, if the switchover is then taken back.
        pause_timeout: Duration = fixed("1s"), Rule::Span("10ms", "1m");
        /// What happens to a switchover whose transactions do not end in that time.
        on_pause_timeout: OnPauseTimeout = fixed("abort");
    }

    /// What the engine must prove about the old primary before it promotes a standby.
    pub struct Fence {
        /// The fence level that is required for a dead or hung primary. 0: nothing; 1: traffic removed; 2: no standby can
        /// acknowledge; 3: every process of the data directory proven gone; 4: power or volume cut.
        require: FenceLevel = fixed(3), Rule::Range(0, 4);
        /// The time limit for all stages of the fence together.
        timeout: Duration = fixed("10s"), Rule::Span("100ms", "1h");
        /// A command that cuts the power or the volume of a server (level 4), as a list of arguments; there is no shell. The
        /// server's name is in `FAILOVER_SERVER`. Exit code 0 means that it is certainly cut.
        command: Vec<String> = Unset, Rule::Argv;
        /// The deadline of that command.
        command_timeout: Duration = fixed("10s"), Rule::Span("100ms", "1h");
    }

    /// The route of the traffic.
    pub struct Route {
        /// Whether every client must use this route and has no other way. If so, level 1 is enough for a host that cannot be
        /// reached. Set this only if it is true.
        exclusive: bool = fixed(false);
        /// Addresses of the route (`host:port`) through which the engine verifies the traffic after a failover. For an
        /// application the engine asks them by HTTP, and `identity` says how an answer identifies the server.
        verify: Vec<HostPort> = Unset;
        /// For an application that does not speak HTTP: a command that exits with 0 once the server named in `FAILOVER_SERVER`
        /// answers through the route. It is a list of arguments; there is no shell.
        verify_command: Vec<String> = Unset, Rule::Argv;
        /// For an application: the time limit for a standby that got the traffic to be seen through the route. After that the
        /// next standby gets the traffic, or the engine restores the previous state.
        verify_timeout: Duration = fixed("5s"), Rule::Span("100ms", "10m");
        /// For an application: what `verify` asks, and how the answer shows which server gave it.
        identity: Identity = Unset;
        /// How long the weight of a server that got the traffic grows in HAProxy, in tenths, from a tenth of its full weight to
        /// all of it. This is useful if the backend has other servers that take traffic too; give them weights of 10 and more.
        /// The full weight is `haproxy.weight`, or else the weight in HAProxy's file. Default: the server gets its full weight at
        /// once.
        weight_ramp: Option<Duration> = Unset, Rule::Span("1s", "1h");
        /// The HAProxy processes that carry the traffic. List all of them. Each must start with every standby `disabled`, as in
        /// `contrib/haproxy.cfg`.
        haproxy: Vec<Haproxy> = Unset;
        /// Every PgBouncer in front of the servers of a `postgres` service. It must run on the engine's own host. Its clients
        /// wait during a failover.
        pgbouncer: Vec<Pgbouncer> = Unset;
        /// Commands that move traffic in other ways: an address, a cloud load balancer, a pooler.
        command: Vec<RouteCommand> = Unset;
    }

    /// A command that moves traffic. Its environment contains: `FAILOVER_SERVER`, `FAILOVER_HOST` and `FAILOVER_PORT` (the server
    /// that gets or loses the traffic), `FAILOVER_STEP` (`route_in`, `route_out`, `route_restore`, `route_rollback`),
    /// `FAILOVER_SERVICE`, `FAILOVER_GENERATION`, and `FAILOVER_IDEMPOTENCY_KEY`, which is the same whenever the same step of the
    /// same failover is tried again. Exit code 0 means: done. The engine keeps up to 64 KiB of its output and shows the last
    /// line.
    pub struct RouteCommand {
        /// Its name, unique in the service.
        name: String = Required, Rule::Name;
        /// The command that sends the traffic to a server, as a list of arguments; there is no shell. The engine may run it again
        /// for the same server.
        command: Vec<String> = Required, Rule::Argv;
        /// The command that takes the traffic from a server before the fence, as a list of arguments; there is no shell. Default:
        /// the engine does nothing at this point.
        out: Vec<String> = Unset, Rule::Argv;
        /// The deadline of each command.
        timeout: Duration = fixed("10s"), Rule::Span("100ms", "10m");
    }

    /// How a server of an application identifies itself through the route.
    pub struct Identity {
        /// The path of the request.
        path: String = fixed("/"), Rule::Line;
        /// Whether to use HTTPS.
        tls: bool = fixed(false);
        /// The host name of the request (`Host` header and TLS server name). Default: the host of the address.
        server_name: Option<String> = Unset, Rule::Host;
        /// The file of trusted certificate authorities (PEM). Default: those of the system.
        ca_file: Option<PathBuf> = Unset;
        /// The status codes of a working server.
        expect_status: Vec<u16> = fixed([200, 201, 204]), Rule::Range(100, 599);
        /// The response header that names the server. Default: the response body names it.
        header: Option<String> = Unset, Rule::Word;
        /// The value by which each server identifies itself: the whole value of the header, or a part of the body. Default: the
        /// server's name.
        values: BTreeMap<String, String> = Unset, Rule::Line;
    }

    /// One HAProxy process.
    pub struct Haproxy {
        /// Its name, unique in the service.
        name: String = Required, Rule::Name;
        /// Its admin socket (`stats socket PATH level admin`).
        socket: Option<PathBuf> = Unset;
        /// The address of its admin socket, if it is a TCP socket.
        address: Option<HostPort> = Unset;
        /// The backend that holds the servers.
        backend: String = Required, Rule::HaproxyName;
        /// The names of the service's servers in that backend. Default: the same names.
        servers: BTreeMap<String, String> = Unset, Rule::HaproxyName;
        /// The weight that the new primary gets. Default: its present weight. With weight 0 it would get no traffic. With a
        /// balance algorithm that supports no weights (`static-rr`, a map-based hash), the server keeps its present weight, also
        /// with `weight_ramp`.
        weight: Option<u32> = Unset, Rule::Range(1, 256);
    }

    /// A DNS name that follows the primary. Beside HAProxy or a command, the engine changes the name after it has verified the
    /// traffic there, and retries until the change works. Without another route, the name is the route.
    pub struct Dns {
        /// The name, such as `app.example.com`.
        name: String = Required, Rule::Word;
        /// The type of the record.
        record_type: DnsType = fixed("A");
        /// How long resolvers may cache the record, in seconds. Clients follow that much later.
        ttl: u32 = fixed(60), Rule::Range(0, 86_400);
        /// The value of the record while a server is the primary. Default: that server's `host`, if it is such an address.
        values: BTreeMap<String, String> = Unset, Rule::Word;
        /// How the engine changes the record.
        provider: DnsProvider = Required;
        /// The time limit for a change, until every name server of the zone has it.
        timeout: Duration = fixed("2m"), Rule::Span("100ms", "10m");
        /// Name servers of the zone that the engine asks whether they have the change. With `rfc2136` it always asks the `server`
        /// too.
        verify: Vec<HostPort> = Unset;
        /// Resolvers that the engine asks what they have in their cache. The engine only reports the answer.
        resolvers: Vec<HostPort> = Unset;
        /// For `rfc2136`: the zone's primary name server.
        server: Option<HostPort> = Unset;
        /// For `rfc2136`: the zone, such as `example.com`.
        zone: Option<String> = Unset, Rule::Word;
        /// For `rfc2136`: the name of the TSIG key.
        key_name: Option<String> = Unset, Rule::Word;
        /// For `rfc2136`: the algorithm of the key.
        key_algorithm: TsigAlgorithm = fixed("hmac-sha256");
        /// For `rfc2136`: the secret of the key, in base64.
        key_secret: Option<SourcedSecret> = Unset;
        /// For `route53`: the hosted zone's ID.
        zone_id: Option<String> = Unset, Rule::Word;
        /// For `route53`: the profile in the shared files. Default: the usual chain of credentials (environment, shared files,
        /// container, instance).
        profile: Option<String> = Unset, Rule::Line;
        /// For `route53`: the access key. It needs `secret_access_key`.
        access_key_id: Option<String> = Unset, Rule::Word;
        /// For `route53`: the secret of `access_key_id`.
        secret_access_key: Option<SourcedSecret> = Unset;
        /// For `route53`: an endpoint other than Amazon's.
        endpoint: Option<String> = Unset, Rule::Url;
        /// For `route53`: the region in the signature of requests.
        region: String = fixed("us-east-1"), Rule::Word;
        /// For `route53`: the ID of each server's health check. When the name moves, the engine changes the health check of the
        /// server to which the name then points, as the next keys say, and states its version. A failed change is a warning. The
        /// interval of a health check cannot be changed after its creation.
        health_checks: BTreeMap<String, String> = Unset, Rule::Word;
        /// The number of consecutive results that change the state of the active server's health check.
        health_check_threshold: u32 = fixed(2), Rule::Range(1, 10);
        /// Whether the active server's health check is enabled. Route 53 treats a disabled one as healthy.
        health_check_enabled: bool = fixed(true);
        /// What the engine does with the health checks of all other servers.
        health_check_others: HealthCheckOthers = fixed("keep");
    }

    /// A PgBouncer. The engine runs on the same host, is in its `admin_users`, and rewrites the lines of its databases in a file
    /// that its `pgbouncer.ini` includes.
    pub struct Pgbouncer {
        /// Its name, unique in the service.
        name: String = Required, Rule::Name;
        /// The address of its admin console: a host name, an address, or the folder of its UNIX socket (starting with `/`).
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
        /// The file with the lines of these databases, `NAME = host=… port=…`. The engine changes only host and port in it.
        file: PathBuf = Required;
        /// The address at which PgBouncer reaches each server, `host:port`, by the server's name in this file. Default: the
        /// server's own `host` and `port`.
        servers: BTreeMap<String, HostPort> = Unset;
        /// The time limit for sending the traffic to a server.
        timeout: Duration = fixed("5s"), Rule::Span("100ms", "10m");
    }

    /// How a service follows another one: when the other service has a new primary, the engine first runs the command, then
    /// switches the traffic.
    pub struct Follows or false {
        /// The name of the other service.
        service: String = Required, Rule::Name;
        /// The command that announces the new primary, as a list of arguments; there is no shell. The new primary is in
        /// `FAILOVER_FOLLOWED_SERVER`, `FAILOVER_FOLLOWED_HOST` and `FAILOVER_FOLLOWED_PORT`. The engine repeats the command
        /// until it exits with 0.
        command: Vec<String> = Unset, Rule::Argv;
        /// The time limit for the command.
        timeout: Duration = fixed("30s"), Rule::Span("100ms", "1h");
        /// Which server of this service is active with which primary of the other service: `{ db1 = "app1", db2 = "app2" }`. Only
        /// for an application. A primary that is not named here moves nothing.
        with: BTreeMap<String, String> = Unset, Rule::Name;
        /// While the other service is in trouble or not yet followed, the engine attributes failures of this service to the other
        /// one and moves nothing, for this long from the first failure.
        hold: Duration = fixed("30s"), Rule::Span("0s", "1h");
    }

    /// A command that must succeed before the engine changes anything.
    pub struct PreCheck {
        /// Its name, unique in the service.
        name: String = Required, Rule::Name;
        /// The command, as a list of arguments; there is no shell.
        command: Vec<String> = Required, Rule::Argv;
        /// Its deadline.
        timeout: Duration = fixed("10s"), Rule::Span("10ms", "1h");
    }

    /// The keys of a check of kind `postgres`: a new connection, a query, an answer.
    pub struct PostgresProbe {
        /// The query. Its result must have a row.
        query: String = fixed("SELECT 1"), Rule::Prose;
        /// Whether to also commit a trivial write, which leaves nothing behind. If only this write fails, the verdict is
        /// `impaired`.
        write_probe: bool = fixed(false);
    }

    /// The keys of a check of kind `tcp`: a connection is accepted.
    pub struct TcpProbe {
        /// The host to connect to. Default: the server's `host`.
        host: Option<String> = Unset, Rule::Host;
        /// Its port. Default: the server's `port`.
        port: Option<u16> = Unset, Rule::Range(1, 65_535);
    }

    /// The keys of a check of kind `http`: a request and the right answer.
    pub struct HttpProbe {
        /// The URL of the request. Put credentials into `headers`.
        url: String = Required, Rule::Url;
        /// The request's method.
        method: HttpMethod = fixed("GET");
        /// The expected status codes.
        expect_status: Vec<u16> = fixed([200, 201, 204]), Rule::Range(100, 599);
        /// A text that the body must contain.
        expect_body: Option<String> = Unset, Rule::Prose;
        /// The headers of the request. A value may be a secret from another source, like a password.
        headers: Headers = Unset;
        /// The maximum number of redirects to follow.
        max_redirects: u32 = fixed(5), Rule::Range(0, 20);
        /// The maximum size of the body. A larger body is an error.
        max_body: Size = fixed("1MiB"), Rule::Bytes(1, 64 << 20);
        /// The host name of the request (`Host` header and TLS server name), if it differs from that of `url`.
        server_name: Option<String> = Unset, Rule::Host;
        /// The file of trusted certificate authorities (PEM). Default: those of the system.
        ca_file: Option<PathBuf> = Unset;
    }

    /// The keys of a check of kind `exec`: a command's exit code.
    pub struct ExecProbe {
        /// The command, as a list of arguments; there is no shell. Exit code 0 means `up`.
        command: Vec<String> = Required, Rule::Argv;
    }

    /// The keys of a check of kind `host`: the program that embeds the engine answers.
    pub struct HostProbe {
        /// The name under which the program registered the function. Default: the check's name.
        function: Option<String> = Unset, Rule::Line;
    }

    /// The keys of a check of kind `scripted`: answers from a script, for tests.
    pub struct ScriptedProbe {
        /// The answers, one for each run. The last one is repeated.
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

/// Whether to use TLS, and what to verify, as in libpq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SslMode {
    /// Never use TLS.
    Disable,
    /// Use TLS if the server supports it.
    Prefer,
    /// Always use TLS, without verification.
    Require,
    /// Always use TLS, and verify that a trusted authority issued the certificate.
    VerifyCa,
    /// Always use TLS, and verify that a trusted authority issued the certificate for this host.
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

/// How the engine changes a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DnsProvider {
    /// Amazon Route 53.
    Route53,
    /// Dynamic updates, signed by TSIG.
    Rfc2136,
}

/// What the engine does with a health check whose server is not active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HealthCheckOthers {
    /// It stays as it is.
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
        SslMode::Disable = "disable", "never use TLS";
        SslMode::Prefer = "prefer", "use TLS if the server supports it";
        SslMode::Require = "require", "always use TLS, without verification";
        SslMode::VerifyCa = "verify-ca", "always use TLS, and verify that a trusted authority issued the certificate";
        SslMode::VerifyFull = "verify-full", "always use TLS, and verify that a trusted authority issued the certificate for this host";
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
        HealthCheckOthers::Disable = "disable", "they are disabled: Route 53 treats them as healthy, and checks no more";
    }
    TsigAlgorithm {
        TsigAlgorithm::Sha1 = "hmac-sha1", "only for servers that support nothing else";
        TsigAlgorithm::Sha256 = "hmac-sha256", "the default of `tsig-keygen`";
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
        ServiceKind::Application = "application", "application servers: the traffic moves from a failed server to a healthy one";
    }
    Role {
        Role::Primary = "primary", "takes the writes";
        Role::Standby = "standby", "follows the primary";
    }
    OnLoss {
        OnLoss::Refuse = "refuse", "stop and call a person";
        OnLoss::Proceed = "proceed", "continue, and note it in the record";
    }
    OnNewPrimary {
        OnNewPrimary::Auto = "auto", "change `primary_conninfo` of a standby that streamed from the old primary, and load it";
        OnNewPrimary::Off = "off", "leave every standby as it is";
    }
    OnSalvage {
        OnSalvage::Auto = "auto", "do so where it is possible, and judge the rest as a loss";
        OnSalvage::Off = "off", "never do so";
        OnSalvage::Require = "require", "call a person instead of promoting with a loss that is known or not known, unless `--accept-loss` accepts it";
    }
    OnSynchronous {
        OnSynchronous::Manual = "manual", "an administrator: the engine changes it only where `on_no_sync_standby` says so";
        OnSynchronous::Maintain = "maintain", "the engine, on the primary and in advance on every standby";
    }
    OnRejoin {
        OnRejoin::Manual = "manual", "only by an order, or after a switchover";
        OnRejoin::Clean = "clean", "where its log has nothing that the new primary lacks, so that it can follow as it is";
        OnRejoin::Auto = "auto", "also by `pg_rewind`, once for each failover; what only its log has is counted, reported and kept before";
    }
    OnPauseTimeout {
        OnPauseTimeout::Abort = "abort", "take the switchover back: clients go on, and nothing has happened";
        OnPauseTimeout::Cut = "cut", "go on: the stop of the primary ends the transactions";
        OnPauseTimeout::Wait = "wait", "let clients go on for a moment, then try again, within `trigger.failover_timeout`";
    }
    OnNoSyncStandby {
        OnNoSyncStandby::Async = "async", "clear `synchronous_standby_names`, and record this in events and journal";
        OnNoSyncStandby::Block = "block", "let commits wait";
    }
}
