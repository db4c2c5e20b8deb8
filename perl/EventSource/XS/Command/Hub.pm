package EventSource::XS::Command::Hub;
use strict;
use warnings;

# `eventsource hub`: the hub processes. `run` is a command of the program eventsource-hub.

use EventSource::Hub::Process;
use EventSource::XS::Command;
use File::Spec   ();
use Scalar::Util qw(blessed);

my $COMMAND = 'EventSource::XS::Command';

# The commands. Each has a method of its name, after an underscore.
my @COMMANDS = qw(backup check drain list log run start stop upgrade);

# The commands that an option is for, if it is not for all.
my %IS_FOR = (
    (map { $_ => ['check'] } qw(running unused)),
    (map { $_ => ['run'] } qw(http log metrics)),
    (map { $_ => [qw(run start)] } qw(store store-from)),
);

# The time that `list` and `check` wait for each process, in seconds.
my $LIST_TIMEOUT  = 1;
my $CHECK_TIMEOUT = 2;

sub run {
    my ($class, @arguments) = @_;
    my @common = qw(hub=s socket=s timeout=f);
    my @own =
        qw(within=f json idle-exit=s grace=s lag=f pending=f running unused http=s log=s metrics=s store=s store-from=s);
    my $option = $COMMAND->options('hub', \@arguments, @common, @own);
    my $name   = shift @arguments;
    $COMMAND->usage('run, start, list, check, log, drain, backup, upgrade or stop?') if !defined $name;
    $COMMAND->usage("unknown command hub $name")                                     if !grep { $_ eq $name } @COMMANDS;
    if ($name ne 'list') {
        $option->{hub} = shift @arguments      if @arguments > ($name eq 'backup' ? defined $option->{hub} : 0);
        $option->{hub} = $ENV{EVENTSOURCE_HUB} if !defined $option->{hub} && $name eq 'check';
        $COMMAND->usage("which hub? eventsource hub $name NAME") if !defined $option->{hub};
    }
    for my $of_some (grep { defined $option->{$_} && "@{$IS_FOR{$_}}" !~ /\b$name\b/ } sort keys %IS_FOR) {
        $COMMAND->usage("--$of_some is for hub " . join ' and hub ', @{$IS_FOR{$of_some}});
    }
    $COMMAND->usage('--running or --unused, not both') if $option->{running} && $option->{unused};
    $COMMAND->usage('into which file? eventsource hub backup NAME FILE')
        if $name eq 'backup' && !length($option->{file} = shift(@arguments) // '');
    $COMMAND->usage("what is '$arguments[0]'?") if @arguments;
    my $method = "_$name";
    return $class->$method($option);
}

# The process has another working directory.
sub _backup {
    my ($class, $option) = @_;
    $COMMAND->connect($option, autostart => 0)->backup(File::Spec->rel2abs($option->{file}));
    return;
}

# Green or red, for programs that watch services: any trouble is the exit code 1, but for a wrong command line and for a hub of
# which nothing is known, because its name may be wrong.
sub _check {
    my ($class, $option) = @_;
    require EventSource::XS::Hub::Health;
    require EventSource::XS::Hub::Proxy;
    my %limit = map { defined $option->{$_} ? ($_ => $option->{$_}) : () } qw(lag pending);
    $COMMAND->usage("--$_ takes seconds, from 0") for grep { $limit{$_} < 0 } sort keys %limit;
    my $stats;
    my $problem = eval {
        my $hub    = $COMMAND->connect({timeout => $CHECK_TIMEOUT, %$option}, autostart => 0);
        my $health = EventSource::XS::Hub::Health->new($hub, %limit);
        $health->examine;
        $stats = $health->stats;
        $health->problem // EventSource::XS::Hub::Proxy->problem($hub);
    };
    my $error = $@;
    if (!$stats) {
        die $error if !blessed $error || !$error->isa('EventSource::Error') || $error->code eq 'invalid';
        $problem = $COMMAND->message_of($error);
    }
    my $is_unknown;
    my ($path) = $stats || $option->{running} ? () : $problem =~ /: nobody listens on (.+)\z/s;
    ($problem, $is_unknown) = _readiness($path, $option) if defined $path;
    my %found = (name => $option->{hub}, problem => $problem, store => $stats && $stats->{store});
    my %is    = (healthy => defined $problem ? \0 : \1, running => $stats ? \1 : \0);
    my @line  = ($option->{hub}, 'ok', $stats ? $stats->{store}{kind} : 'no process yet');
    if (defined $problem && !$option->{json}) { $COMMAND->complain('hub', "$option->{hub}: $problem") }
    else                                      { $COMMAND->print_item($option, {%found, %is}, @line) }
    return $is_unknown ? $COMMAND->exit_code_of('unavailable') : defined $problem ? 1 : 0;
}

sub _drain {
    my ($class, $option) = @_;
    $COMMAND->usage('over which time? --within SECONDS') if !defined $option->{within} || $option->{within} < 0;
    $COMMAND->connect($option, autostart => 0)->drain($option->{within});
    return;
}

sub _list {
    my ($class, $option) = @_;
    $COMMAND->print_heading($option, qw(NAME PID VERSION WORKERS STREAMS CHANNELS SECONDS));
    for my $name (EventSource::Hub::Process->names) {
        my %place = (hub => $name, autostart => 0, timeout => $LIST_TIMEOUT);
        my $stats = eval { $COMMAND->connect({%place, %$option, hub => $name})->stats };
        if (!$stats) {
            $COMMAND->complain('hub', "$name: " . $COMMAND->message_of($@));
            next;
        }
        my %hub = (name => $name, streams => $stats->{open}, map { $_ => $stats->{$_} } qw(age channels pid version));
        my @workers = @{$stats->{workers}};
        my @columns = (@hub{qw(name pid version)}, scalar @workers, @hub{qw(streams channels)}, int $hub{age});
        $COMMAND->print_item($option, {%hub, workers => \@workers}, @columns);
    }
    return;
}

sub _log {
    my ($class, $option) = @_;
    for my $line (EventSource::Hub::Process->log(name => $option->{hub}, _place($option))) {
        my ($time, $message) = ($COMMAND->utc($line->{time}), $line->{message});
        $COMMAND->print_item($option, {time => $time, message => $message}, $time, $message);
    }
    return;
}

# The options of calls that do not connect.
sub _place {
    my $option = shift;
    return map { defined $option->{$_} ? ($_ => $option->{$_}) : () } qw(socket timeout);
}

# The problem of a hub that has no process: the first worker starts one, if it can. And true if nothing is known of the hub.
sub _readiness {
    my ($path, $option) = @_;
    my $is_known = 1;
    require EventSource::XS::Hub::Readiness;
    my $problem = EventSource::XS::Hub::Readiness->problem(
        is_known => \$is_known,
        name     => $option->{hub},
        path     => $path,
        socket   => $option->{socket},
        timeout  => $option->{timeout} || $CHECK_TIMEOUT
    );
    return $problem if defined $problem || $is_known || $option->{unused};
    return (
        'nobody has used a hub of this name here: eventsource hub list has those that run; with --unused it is ready',
        1);
}

# Replaces this process by eventsource-hub.
sub _run {
    my ($class, $option) = @_;
    my $program = EventSource::Hub::Process->program;
    my @given =
        map { defined $option->{$_} ? ("--$_", $option->{$_}) : () }
        qw(socket idle-exit grace http log metrics store store-from);
    local $SIG{PIPE} = 'DEFAULT';    # the program inherits what is ignored
    exec {$program} $program, 'run', '--name', $option->{hub}, @given or die "cannot run $program: $!\n";
}

sub _start {
    my ($class, $option) = @_;
    my $store = _store($option);
    local $ENV{EVENTSOURCE_STORE} = $store if defined $store;    # the new process inherits it, and ps does not show it
    return $COMMAND->print($COMMAND->connect($option, autostart => 1)->pid . "\n");
}

# The store of a process that is started. It has another working directory.
sub _store {
    my $option = shift;
    my ($store, $file) = @$option{qw(store store-from)};
    $COMMAND->usage('--store and --store-from exclude each other') if defined $store && defined $file;
    if (defined $file) {
        $store = $COMMAND->secret($file) =~ s/\A\s+|\s+\z//gr;
        $COMMAND->usage("$file: its first line is empty") if !length $store;
    }
    $store =~ s{\Afile:([^/].*)}{'file:' . File::Spec->rel2abs($1)}se if defined $store;
    return $store;
}

sub _stop {
    my ($class, $option) = @_;
    EventSource::Hub::Process->stop(name => $option->{hub}, _place($option));
    return;
}

sub _upgrade {
    my ($class, $option) = @_;
    my $report = EventSource::Hub::Process->upgrade(name => $option->{hub}, _place($option));
    utf8::encode($report);
    return $COMMAND->print("$report\n");
}

1;
