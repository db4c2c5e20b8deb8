# Logins, logouts, rights that are given and withdrawn, hub processes that are killed, and clients that come back with all
# cookies that they were ever given, at random, against an oracle: it knows of each ticket what it was issued for, and whether
# that was withdrawn. No stream has a channel that it does not allow, and none has one less. With a store a killed hub process
# takes no ticket with it. Over Redis there are two machines, and each step is one of either. Behind a proxy each request goes
# to the hub process first, and from there to the application. EVENTSOURCE_XS_SEED repeats a run, and EVENTSOURCE_XS_STEPS is
# its length.

use lib 't/lib';
use Testing qw(native named_hubs);
use EventSource::Hub;
use EventSource::Hub::Process;
use IO::Socket::UNIX;
use Socket qw(SOL_SOCKET SO_RCVTIMEO);
use Test::EventSource;
use Testing::Program;
use Testing::Redis;
use Testing::SideBySide qw(run_each);

my $STEPS = $ENV{EVENTSOURCE_XS_STEPS} || 300;
my $SEED  = $ENV{EVENTSOURCE_XS_SEED} //= int rand 1e9;    # of all cases

my @USERS    = qw(ann bob cy);
my @CHANNELS = qw(room/1 room/2 news own/ann own/bob own/cy);
my @PATHS    = qw(/events /events?a=1 /other);

sub one_of { return $_[int rand @_] }

# The rights of each user, and what the application was asked last.
my (%right, $asked);

sub user_of { return ($_[0]{HTTP_COOKIE} || '') =~ /(?:\A|; )session=([a-z]+)/ ? $1 : 'nobody' }

sub allowed { my @allowed = sort keys %{$right{$_[0]} || {}}; return @allowed }

sub app {
    my $hub = shift;
    return $hub->to_app(
        channels => sub { $asked = 1; return allowed(user_of($_[0])) },
        label    => sub { return 'user/' . user_of($_[0]) },
        ticket   => 600,
    );
}

# Whether a call of end means a ticket.
sub means {
    my ($end, $ticket) = @_;
    return $end->{label} eq "user/$ticket->{user}" if defined $end->{label};
    my $topic = ref $end->{topics} ? qr{\Aroom/[^/]*\z} : qr/\A\Q$end->{topics}\E\z/;
    return !!grep { $_ =~ $topic } @{$ticket->{channels}};
}

my $folder = new_folder;
my ($socket, $http) = map { "$folder/$_" } qw(hub.sock http.sock);

sub hub_process {
    my @option  = ('--socket', $socket, '--http', "unix:$http", qw(--grace 60 --idle-exit 60));
    my $process = Testing::Program->new('eventsource-hub')
        ->run({}, EventSource::Hub::Process->program, qw(run --name test), @option);
    wait_until($DEADLINE, sub { IO::Socket::UNIX->new(Peer => $http) }) or die "the hub process does not listen\n";
    return $process;
}

# Asks the hub process for a stream. Returns its socket behind the head, or undef if the application is to be asked.
sub ask_hub_process {
    my ($path, $host, $cookies) = @_;
    my $client = IO::Socket::UNIX->new(Peer => $http) or die "the hub process does not listen\n";
    setsockopt $client, SOL_SOCKET, SO_RCVTIMEO, pack 'l!l!', $DEADLINE, 0;
    print {$client} "GET $path HTTP/1.1\r\nHost: $host\r\nCookie: $cookies\r\n\r\n";
    my $head = '';
    while ($head !~ /\r\n\r\n\z/) { $head .= readline($client) // die "no answer\n" }
    return $head =~ /^X-Accel-Redirect: \@app\r$/m ? undef : $client;
}

my $redis;
my %HUBS = (
    'in one process' => sub { return EventSource::Hub->new(position => 'id') },
    named            => sub { return Test::EventSource->private_hub(position => 'id') },
    'over Redis'     => sub {
        $redis = Testing::Redis->start;
        my %hub = (name => 'test', position => 'id', store => {redis => $redis->url}, idle_exit => 5);
        return map { EventSource::Hub->new(%hub, socket => "$folder/$_.sock") } 1, 2;
    },
    'over a file' => sub {
        my %hub = (name => 'test', position => 'id', store => {file => "$folder/events.db"}, idle_exit => 5);
        return EventSource::Hub->new(%hub, socket => "$folder/file.sock");
    },
    'behind a proxy' =>
        sub { return EventSource::Hub->new(position => 'id', name => 'test', socket => $socket, autostart => 0) },
);

run_each [grep { $_ ne 'over Redis' || !Testing::Redis->missing } sort keys %HUBS] => sub {
    my $kind      = shift;
    my $life      = 0;                                                              # of the hub process
    my $is_behind = $kind eq 'behind a proxy';
    my $process   = $is_behind && hub_process();
    my @hubs      = $HUBS{$kind}->();
    my $has_store = $kind =~ /\Aover/;
    my %client    = map { ($_ => Test::EventSource->new(app => app($_))) } @hubs;
    my ($host)    = $client{$hubs[0]}->url =~ m{//([^/]+)};
    my (@tickets, %counts);
    my $number = 0;
    srand $SEED;

    $_->epoch for @hubs;                                                            # the hub processes run

    # A machine that has published knows all that was before in the order of the store.
    my $read = sub { $_->publish(read => 1) for $has_store ? @hubs : () };
    %right = (ann => {map { ($_ => 1) } 'news', 'room/1', 'own/ann'}, bob => {news => 1, 'own/bob' => 1});

    # Makes a request with a session and a ticket, or none, and compares what happens with the oracle.
    my $request = sub {
        my ($user, $path, $ticket) = @_;
        my $hub = one_of(@hubs);
        $read->();
        my $is_valid =
               $ticket
            && $ticket->{user} eq $user
            && $ticket->{path} eq $path
            && $ticket->{life} == $life
            && !$ticket->{is_withdrawn};
        my @expected = $is_valid ? @{$ticket->{channels}} : allowed($user);
        $asked = 0;
        my $cookies = join '; ', "session=$user", $ticket ? $ticket->{cookie} : ();
        my $name    = "$user, $path, " . ($ticket ? "a ticket of $ticket->{user}, $ticket->{path}" : 'no ticket');
        my $by_hub  = $is_behind && ask_hub_process($path, $host, $cookies);
        return "$name: the hub process " . ($by_hub ? 'has a stream' : 'has none')
            if $is_behind && !$by_hub != !$is_valid;
        my $stream = $by_hub ? undef : $client{$hub}->get($path, headers => [Cookie => $cookies]);
        return "$name: asked $asked" if $asked != ($is_valid ? 0 : 1);
        $counts{$is_valid ? 'accepted' : $ticket ? 'refused' : 'without'}++;
        return @expected ? "$name: no stream" : undef if $stream && $stream->status == 404;
        return "$name: a stream"                      if !@expected;
        my %last = map { my $channel = $_; ($channel => $hub->publish($channel => ++$number . " $channel")) } @CHANNELS;
        $hub->publish($expected[0] => 'end');
        my $until = time + $DEADLINE;    # keepalives come, whatever is missing
        my $next  = sub {
            if ($stream) { my $event = $stream->next_event; return $event && $event->{data} }
            while (time < $until && defined(my $line = readline $by_hub)) { return $1 if $line =~ /\Adata: (.*)\n\z/ }
            return undef;
        };
        my @received;
        while (defined(my $data = $next->())) {
            last if $data eq 'end';
            push @received, $data =~ /\A[0-9]+ (.+)\z/;
        }
        return "$name: received @received, not @expected" if "@{[sort @received]}" ne "@expected";
        return undef                                      if $by_hub;
        my $header = $stream->header('Set-Cookie');
        return "$name: a ticket by a ticket" if $is_valid && defined $header;
        return undef                         if $is_valid;
        push @tickets,
            {cookie => $header =~ s/;.*//r, user => $user, path => $path, channels => \@expected, life => $life};
        shift @tickets if @tickets > 12;
        return undef;
    };
    my %step = (
        come => sub { $request->(one_of(@USERS, 'nobody'), one_of(@PATHS), undef) },
        back => sub {
            my $ticket = one_of(@tickets) or return undef;
            return $request->(
                rand() < 0.8 ? $ticket->{user} : one_of(@USERS),
                rand() < 0.8 ? $ticket->{path} : one_of(@PATHS), $ticket
            );
        },
        give => sub { $right{one_of(@USERS)}{one_of(@CHANNELS)} = 1; return undef },
        take => sub {
            my ($user, $channel) = (one_of(@USERS), one_of(@CHANNELS));
            delete $right{$user}{$channel};
            my $end = one_of({label => "user/$user"}, {topics => $channel}, {topics => $hubs[0]->pattern('room/*')});
            one_of(@hubs)->end(%$end);
            $_->{is_withdrawn} ||= means($end, $_) for @tickets;
            return undef;
        },
        kill => sub {
            return undef if $kind eq 'in one process' || rand() > 0.2;
            my $hub = one_of(@hubs);
            my $pid = $hub->stats->{process}{pid};
            $process ? $process->stop('KILL') : kill KILL => $pid;
            $process &&= hub_process();
            wait_until sub {
                (eval { $hub->stats->{process}{pid} } || $pid) != $pid;
            };
            $life++ if !$has_store;
            return undef;
        },
        upgrade => sub {
            return undef if $kind eq 'in one process' || rand() > 0.3;
            my $hub = one_of(@hubs);

            # A hub that has just begun anew refuses while it does not reach its store.
            wait_until sub {
                eval { $hub->stats->{store}{up} }
                }
                if $has_store;
            EventSource::Hub::Process->upgrade(name => 'test', socket => $hub->{socket});
            return undef;
        },
    );
    my @kinds = ((qw(come)) x 2, (qw(back)) x 6, qw(give take kill upgrade));
    my $problem;
    for my $at (1 .. $STEPS) {
        my $what = one_of(@kinds);
        $problem = $step{$what}->();
        $problem = "step $at of seed $SEED, $what: $problem" and last if defined $problem;
    }
    is $problem, undef, "$kind: each stream has what the application has allowed";
    cmp_ok $counts{$_} || 0, '>', 0, "$kind: some are $_" for qw(accepted refused without);
    EventSource::Hub::Process->stop(name => 'test', socket => $_->{socket}) for $has_store ? @hubs : ();
    note join ', ', map { "$_ $counts{$_}" } sort keys %counts;
};
done_testing;
