# The application behind t/hub: streams of a hub, and paths that publish and report, all in one process. The settings of the
# hub come from the environment, as JSON. The query of a stream names its channels and options.

use Testing::Application qw(answers filtered query);
use EventSource::Hub;
use EventSource::XS;
use JSON::PP                ();
use Testing::NumberedEvents qw(numbered);
use Plack::App::EventSource;
use Plack::Builder;
use POSIX       ();
use Time::HiRes qw(sleep);

my $JSON   = JSON::PP->new->canonical->allow_nonref;
my $hub    = EventSource::Hub->new(%{$JSON->decode($ENV{HUB_SETTINGS} || '{}')});
my %NATIVE = (native => defined $ENV{HUB_NATIVE} ? $ENV{HUB_NATIVE} : 'auto');

my %HELD;    # connections by name
my %WHY;     # the reason of each end, by name

# While a handler serves a stream and blocks the process, only signals reach the application.
my $signals = 0;
$SIG{IO}     = sub { $hub->publish(a => 'signal ' . ++$signals) };
$SIG{VTALRM} = sub { $hub->drain(0) };

# The channels and patterns of a query, each a list in one parameter.
sub channels {
    my %query = @_;
    return (
        split(/,/, defined $query{channels} ? $query{channels} : ''),
        map { EventSource::Hub->pattern($_) } split /,/,
        defined $query{patterns} ? $query{patterns} : ''
    );
}

sub app {
    my %option = @_;
    return $hub->to_app(%NATIVE, channels => sub { return channels(query($_[0])) }, %option);
}

# A handler that subscribes, and holds its connection under a name.
sub hold {
    my ($conn, $env) = @_;
    my %query  = query($env);
    my $name   = $query{name};
    my %option = map { defined $query{$_} ? ($_ => $query{$_}) : () } qw(after start);
    $conn->on_close(sub { $WHY{$name} = $_[1]; delete $HELD{$name} });
    $conn->push({data => 'before'}) if $query{before};
    $HELD{$name} = $conn            if !$query{dropped};
    $query{serve}
        ? $hub->serve($conn, channels(%query), \%option)
        : $hub->subscribe($conn, channels(%query), \%option);
    return;
}

# A handler that subscribes to one channel after the other while events of both are published.
sub twice {
    my ($conn, $env) = @_;
    my %query = query($env);
    $HELD{$query{name}} = $conn;
    for my $channel (split /,/, $query{channels}) {
        $hub->subscribe($conn, $channel);
        $hub->publish($_ => 'meanwhile') for qw(a b a);
        sleep $query{pause};
    }
    $conn->push({data => 'pushed'}) if $query{push};
    $hub->subscribe($conn, 'c')     if $query{more};
    return;
}

my %ANSWERS = (
    returns => sub { return [403, ['Content-Type' => 'text/plain'], ['no']] },
    delays  => sub {
        return sub { $_[0]->([503, ['Content-Type' => 'text/plain'], ['later']]) }
    },
    nothing => sub { return },
    croaks  => sub { die "no channels today\n" },
    empty   => sub { return '' },
    literal => sub { my %query = query($_[0]); return $query{channel} },
);

my %PATH = (
    publish => sub {
        my %query = (count => 1, from => 1, bytes => 5, @_);
        my @names = split /,/, $query{channel};
        my @ids;
        for my $number ($query{from} .. $query{from} + $query{count} - 1) {
            my %event = %{numbered($number, $query{bytes})};
            $event{key} = $number % $query{keys} if $query{keys};
            delete $event{id} if !$query{ids};
            push @ids, $hub->publish($names[($number - $query{from}) % @names], \%event);
        }
        return join ' ', @ids;
    },
    try => sub {
        my %query = @_;
        my ($channel, $name, $times) = map { delete $query{$_} } qw(channel name times);
        $query{id} x= $times;    # some servers do not read a query with a long id
        my $done = eval { $name ? $HELD{$name}->push(\%query) : $hub->publish($channel, \%query); 1 };
        return $done ? 'taken' : "$@";
    },
    event => sub { my %query = @_; return $hub->publish(delete $query{channel}, \%query) },
    push  =>
        sub { my %query = @_; return $HELD{$query{name}} && $HELD{$query{name}}->push({data => $query{data}}) ? 1 : 0 },
    close     => sub { my %query = @_; $HELD{$query{name}}->close; return 'closed' },
    subscribe => sub {
        my %query         = @_;
        my %option        = map { defined $query{$_} ? ($_ => $query{$_}) : () } qw(after start);
        my $is_subscribed = eval { $hub->subscribe($HELD{$query{name}}, channels(%query), \%option) ? 1 : 0 };
        return defined $is_subscribed ? $is_subscribed : "$@";
    },
    drain => sub { my %query = @_; $hub->drain($query{seconds}); return 'drains' },
    forks => sub {
        my %query = @_;
        defined(my $pid = fork) or die "fork: $!\n";
        if (!$pid) {
            POSIX::_exit(eval { $hub->publish(a => 'child'); $hub->epoch } ne $query{epoch} ? 0 : 1);
        }
        waitpid $pid, 0;
        return $?;
    },
    stats => sub {
        my %query = @_;
        my %held =
            map { ($_ => {open => $HELD{$_}->is_open ? 1 : 0, native => $HELD{$_}->is_native ? 1 : 0}) } keys %HELD;
        return $JSON->encode(
            {
                %{$hub->stats},
                pid         => $$,
                descriptors => scalar(() = glob '/proc/self/fd/*'),
                epoch       => $hub->epoch,
                streams_all => EventSource::XS->stats,
                held        => \%held,
                why         => \%WHY,
                subscribers => {map { ($_ => $hub->subscribers($_)) } split /,/, defined $query{of} ? $query{of} : 'a'},
            }
        );
    },
);

builder {
    mount "/$_"       => answers($PATH{$_})            for keys %PATH;
    mount "/to/$_"    => app(channels => $ANSWERS{$_}) for keys %ANSWERS;
    mount '/hub'      => app();
    mount '/filtered' => filtered(app());
    mount '/oldest' =>
        app(start => 'oldest', keepalive => 0.3, retry => 5, preamble => 2_048, headers => ['X-Of' => 'hub']);
    mount '/held'          => Plack::App::EventSource->new(%NATIVE, keepalive  => 0.3, handler_cb => \&hold)->to_app;
    mount '/twice'         => Plack::App::EventSource->new(%NATIVE, handler_cb => \&twice)->to_app;
    mount '/filtered-held' => filtered(Plack::App::EventSource->new(%NATIVE, handler_cb => \&hold)->to_app);
    mount '/plain'         => answers(sub { 'plain' });
};
