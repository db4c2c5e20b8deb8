# The methods of a hub and of a connection to its process, format_event and push keep $@, $! and $? of their caller: whatever
# they ask the system, and whatever they expect to fail. A call that dies keeps $! and $?.

use lib 't/lib';
use Testing          qw(named_hubs);
use EventSource::Hub ();
use EventSource::XS  qw(format_event);
use Plack::App::EventSource;
use Test::EventSource;
use Testing::SourceTree qw(slurp);

# What a method calls of the application, or of JSON, may change all three.
package Spoiler {
    sub new { return bless {}, shift }

    sub TO_JSON {
        eval { die "spoilt\n" };
        $! = 2;
        $? = 3;
        return 'spoilt';
    }
    sub close { return }

    sub write {
        eval { die "spoilt\n" };
        $! = 2;
        return 1;
    }
}

my $JSON = {json => {spoilt => Spoiler->new}};

# What a call leaves in the variables; an array of those that are lost.
sub lost_by {
    my $code = shift;
    ($@, $!, $?) = ('mine', 13, 77);
    $code->();
    my @now = ("$@", $! + 0, $?);
    $? = 0;
    my @before = ('mine', 13, 77);
    return map { $now[$_] eq $before[$_] ? () : "$_: $now[$_]" } 0 .. 2;
}

# Twice: the first call may connect, or load a module.
sub keeps_ok {
    my ($what, $code) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @lost = (lost_by($code), lost_by($code));
    return is_deeply \@lost, [], "$what keeps them";
}

# The methods that a manual documents.
sub documented {
    my ($module, $from) = @_;
    my ($methods) = slurp("perl/$module") =~ /^=head1 \Q$from\E$(.*)/ms;
    return map { split /, / } $methods =~ /^=head2 (.+)$/mg;
}

my %OF_HUB = (
    admin_app => sub {
        $_[0]->admin_app(allow => sub { 1 });
    },
    check_topics  => sub { $_[0]->check_topics('a') },
    drain         => sub { $_[0]->drain(0) },
    end           => sub { $_[0]->end(label => 'nobody') },
    epoch         => sub { $_[0]->epoch },
    forget        => sub { $_[0]->forget(a => 'key', $JSON) },
    history       => sub { $_[0]->history('a') },
    is_unshared   => sub { $_[0]->is_unshared },
    members       => sub { $_[0]->members('a') },
    members_count => sub { $_[0]->members_count('a') },
    metrics_app   => sub {
        $_[0]->metrics_app(allow => sub { 1 });
    },
    last_id => sub { $_[0]->last_id },
    oldest  => sub { $_[0]->oldest('a') },
    new     => sub { EventSource::Hub->new($_[1] ? (name => $_[1]) : ()) },
    pattern => sub { $_[0]->pattern('a*') },
    process => sub { $_[0]->process if $_[1] },
    publish => sub { $_[0]->publish(a => $JSON); $_[0]->publish(a => 'data'); $_[0]->publish(a => $JSON, {wait => 0}) },
    script_app  => sub { $_[0]->script_app },
    state       => sub { $_[0]->state('a') },
    stats       => sub { $_[0]->stats },
    subscribers => sub { $_[0]->subscribers('a') },
    to_app      => sub {
        $_[0]->to_app(channels => sub { 'a' });
    },
    type_of       => sub { $_[0]->type_of('a', $JSON) },
    update_member => sub { $_[0]->update_member('a', 'ann', $JSON) },
);

my %OF_STREAM = (
    serve     => sub { $_[0]->serve($_[1], 'a', {member => {id => 'ann', channel => 'a', %$JSON}}) },
    subscribe => sub { $_[0]->subscribe($_[1], 'b', {member => {id => 'ann', channel => 'b', %$JSON}}) },
);

my %OF_PROCESS = (
    (
        map { ($_ => $OF_HUB{$_}) }
            qw(end epoch forget history last_id members members_count oldest publish state stats subscribers update_member)
    ),
    answers => sub { $_[0]->answers },
    backup  => sub {
        local $@;
        eval { $_[0]->backup('/of/no/file') };
    },
    begin_publish => sub { $_[0]->begin_publish(a => $JSON); $_[0]->answers },
    channels      => sub {
        $_[0]->channels('**', sub { });
    },
    drain          => sub { $_[0]->drain(0) },
    connect        => sub { EventSource::Hub::Process->connect(name => $_[1], autostart => 0) },
    follow         => sub { $_[0]->follow('a') },
    gap_event      => sub { $_[0]->gap_event },
    log            => sub { $_[0]->log },
    names          => sub { EventSource::Hub::Process->names },
    openmetrics    => sub { $_[0]->openmetrics('a') },
    pid            => sub { $_[0]->pid },
    position_event => sub { $_[0]->position_event },
    program        => sub { $_[0]->program },
    publish        => sub { $_[0]->publish(a => $JSON) },
    show_channel   => sub { $_[0]->show_channel },
);

my %in_table = (%OF_HUB, %OF_STREAM);
is_deeply [grep { !$in_table{$_} } documented('EventSource/Hub.pm', 'METHODS')], [],
    'the table has each method of a hub';
%in_table = (%OF_PROCESS, stop => 1, upgrade => 1);
is_deeply [grep { !$in_table{$_} } documented('EventSource/Hub/Process.pm', 'METHODS')], [], 'and of a process';

my %hub = (
    'a hub of this process'     => [EventSource::Hub->new],
    'a named hub'               => [Test::EventSource->private_hub(name => 'plain'),                         'plain'],
    'a named hub with channels' => [Test::EventSource->private_hub(name => 'shown', show_channel => 'data'), 'shown'],
);
for my $kind (sort keys %hub) {
    my ($hub, $name) = @{$hub{$kind}};
    my %kept;
    my $handler = sub {
        my $connection = shift;
        for my $method (sort keys %OF_STREAM) {
            $kept{$method} = [lost_by(sub { $OF_STREAM{$method}->($hub, $connection) })];
        }
        $kept{"push of $_->[0]"} = [lost_by(sub { $connection->push($_->[1]) })] for ['data', 'x'], ['json', $JSON];
    };
    for my $native (1, 0) {
        %kept = ();
        my $es = Test::EventSource->new(app => Plack::App::EventSource->new(handler_cb => $handler, native => $native));
        my $stream = $es->get('/');
        is_deeply $kept{$_}, [], "$kind, native $native: $_ keeps them"
            for sort keys %OF_STREAM, map { "push of $_" } qw(data json);
    }
    keeps_ok("$kind: $_",    sub { $OF_HUB{$_}->($hub, $name) }) for grep { $_ ne 'drain' } sort keys %OF_HUB;
    keeps_ok("$kind: drain", sub { $hub->drain(0) });
    next if !$name;
    my $process = $hub->process;
    keeps_ok("process of $kind: $_", sub { $OF_PROCESS{$_}->($process, $name) })
        for grep { $_ ne 'drain' } sort keys %OF_PROCESS;
    keeps_ok("process of $kind: drain", sub { $process->drain(0) });
    for my $method (qw(upgrade stop)) {
        my @lost = lost_by(sub { EventSource::Hub::Process->$method(name => $name) });
        is_deeply \@lost, [], "process of $kind: $method keeps them";
    }
}

subtest 'a push to the writer of a server' => sub {
    my $handler = sub {
        my $connection = shift;
        keeps_ok("the first push, and one of $_->[0],", sub { $connection->push($_->[1]) })
            for ['data', 'x'], ['json', $JSON];
        local $SIG{__DIE__} = sub { };    # then each step is one of Perl
        keeps_ok('a push step by step', sub { $connection->push('x') });
        $connection->close;
    };
    my $app      = Plack::App::EventSource->new(handler_cb => $handler, native => 0)->to_app;
    my %env      = (REQUEST_METHOD => 'GET', PATH_INFO => '/', 'psgi.streaming' => 1, 'psgi.errors' => \*STDERR);
    my $response = $app->({%env, 'psgi.url_scheme' => 'http', 'psgi.multiprocess' => 0, 'psgi.nonblocking' => 1});
    $response->(sub { return Spoiler->new });
};

keeps_ok("format_event of $_->[0]", sub { format_event(%{$_->[1]}) }) for ['data', {data => 'x'}], ['json', $JSON];

subtest 'a call that dies' => sub {
    my $hub = EventSource::Hub->new;
    for my $method (qw(publish forget)) {
        ($!, $?) = (13, 77);
        my $wrong = [Spoiler->new, sub { }];
        my $code  = sub {
            eval {
                $hub->$method(a => $method eq 'publish' ? {json => $wrong} : ('k', {json => $wrong}));
                1;
            }
        };
        my $lived = $code->();
        my ($error, @now) = ($@, $! + 0, $?);
        $? = 0;
        ok !$lived, "$method dies";
        is $error->code, 'invalid', 'with its exception';
        like "$error", qr/ at \Q${\__FILE__}\E line /, 'at the line of the caller';
        is_deeply \@now, [13, 77], 'and keeps the others';
    }
};

subtest 'a callback that ends the program' => sub {
    my %ends = ('eval { %s; 1 }' => ['exit 5', 5], '%s' => ['die "uncaught\n"', '[1-9][0-9]*']);
    for my $calls (sort keys %ends) {
        my ($ends, $status) = @{$ends{$calls}};
        my $call = sprintf $calls, 'EventSource::Hub->new->publish(a => {json => bless {}, "X"})';
        my $code = "use EventSource::Hub; close STDERR; sub X::TO_JSON { \$? = 0; $ends } $call";
        system $^X, '-Mblib', '-e', $code;
        like $? >> 8, qr/\A$status\z/, $ends;
    }
    $? = 0;
};

subtest 'context and arguments' => sub {
    my $hub = EventSource::Hub->new;
    $hub->publish(a => $_) for 1 .. 3;
    is scalar(my @events = $hub->history('a', last => 2)), 2, 'a list';
    is_deeply [map { $_->{data} } $hub->history('a')], [1, 2, 3], 'in order';
    like scalar($hub->forget(a => 'k')), qr/-4\z/, 'a scalar';
    my $history = sub { goto &EventSource::XS::Hub::Calls::history };
    is scalar(my @all = $history->($hub, 'a')), 4, 'a list by goto';
    is_deeply [scalar $history->($hub, 'a', last => 1)], [scalar $hub->history('a', last => 1)], 'a scalar by goto';
};

subtest 'a callback that does not return' => sub {
    my ($rounds, $error) = (0);
ROUND: for (1 .. 2) {
        $rounds++;
        no warnings 'exiting';
        eval {
            EventSource::Hub->new(gap_data => sub { last ROUND });
        };
        $error = $@;
    }
    is $rounds, 2, 'ends no loop around the method';
    like $error, qr/last ROUND/, 'but the method, with an exception';
};

my $exits = 'sub TO_JSON { exit 3 } EventSource::XS::format_event(json => bless {})';
system $^X, (map { "-I$_" } @INC), '-MEventSource::XS', '-e', $exits;
is $? >> 8, 3, 'exit in a method of the application has its status';

done_testing;
