# One reader of requests (src/request): random heads give the same answers through PSGI's environment on each server and at the
# hub process. What servers do with a malformed head is theirs. Where the hub process could read one differently, it lets the
# application answer: it never begins a stream of which the application would read something else.
#
#   EVENTSOURCE_XS_SEED=7 prove -b xt/servers/heads.t        the heads of a run that has failed

use lib 't/lib';
use Testing qw(named_hubs);
use EventSource::Hub;
use EventSource::Hub::Process;
use EventSource::XS::Hub::App;
use EventSource::XS::Hub::Ticket;
use MIME::Base64 qw(encode_base64url);
use POSIX        ();
use Plack::App::EventSource::Connection;
use Storable qw(retrieve store);
use Testing::Client;
use Testing::Program;
use Testing::RandomHeads;
use Testing::Server;

my @SERVERS = qw(Starman Twiggy Feersum uWSGI);
my $HEADS   = $ENV{EVENTSOURCE_XS_SHORT} ? 1_000 : 10_000;
my $SEED    = $ENV{EVENTSOURCE_XS_SEED} // time;
my @IDS     = ('e1', 'e-2', 'e 3', "e\xC3\xA94", 'e%5', 'e;6');

# The last event ID of a client that is sent away.
my $FINISHED = Plack::App::EventSource::Connection->finished_id;

Testing::Server->require_or_skip_all($_) for @SERVERS;
note "EVENTSOURCE_XS_SEED=$SEED";

my $folder = new_folder;
my ($socket, $http) = map { "$folder/$_" } qw(hub.sock http.sock);
my @option  = (qw(--name shop --socket), $socket, '--http', "unix:$http", qw(--grace 60 --idle-exit 60));
my $process = Testing::Program->new('eventsource-hub')->run({}, EventSource::Hub::Process->program, 'run', @option);
ok wait_until($DEADLINE, sub { -S $http && IO::Socket::UNIX->new(Peer => $http) }), 'the hub process listens';
my $hub = EventSource::Hub->new(name => 'shop', socket => $socket, position => 'id', start => 'oldest', autostart => 0);

# The hub knows its own ids. After another one a client receives a gap.
my @known      = map { $hub->publish(news => {data => $_}) } 0 .. 3;
my %data_after = ('' => 'data: 0', map { (unpack('H*', $known[$_]) => 'data: ' . ($_ + 1)) } 0 .. $#known - 1);

my $random = Testing::RandomHeads->new(seed => $SEED, hub => 'shop', ids => [@IDS, @known[0 .. $#known - 1]]);
my @heads  = map { $random->next } 1 .. $HEADS;

# A text that names a head.
sub shown { return join ' ', $_[0][1] // 'sound', $_[0][0] =~ s/([^ -~]|\\)/sprintf '\\x%02x', ord $1/ger }

# The answer of the application on a server; undef if the server has refused the head.
sub answer_of {
    my ($server, $head) = @_;
    my ($bytes,  $kind) = @$head;
    my $client = Testing::Client->connected($server->port);
    $client->say($bytes =~ s/\{ticket\}/AAAA/gr);
    $client->read_all($kind ? 1 : $DEADLINE);
    my $status = $client->status or return undef;
    return $status == 200 ? {map { split / /, $_, 2 } split /\n/, $client->body} : undef;
}

# All answers on a server, in a child process: the servers answer side by side.
sub begin_answers {
    my $name = shift;
    defined(my $pid = fork) or die "fork: $!\n";
    return ($name => $pid) if $pid;
    my $is_done = eval {
        my $server = Testing::Server->start($name, 't/data/heads.psgi', workers => 1);
        store([map { answer_of($server, $_) } @heads], "$folder/$name");
        undef $server;
        1;
    };
    print STDERR $@ if !$is_done;
    return POSIX::_exit(!$is_done);
}
my %pid = map { begin_answers($_) } @SERVERS;
my %answers;
for my $name (@SERVERS) {
    waitpid $pid{$name}, 0;
    is $?, 0, "$name has answered";
    $answers{$name} = retrieve("$folder/$name");
}

# The different answers to each head. What is wrong with the syntax of some is for the servers to refuse or to read.
my (@distinct, @wrong, %count);
for my $at (0 .. $#heads) {
    my ($kind, %seen) = $heads[$at][1];
    for my $name (@SERVERS) {
        my $answer = $answers{$name}[$at];
        my $text   = $answer ? join ' ', map { "$_=$answer->{$_}" } sort keys %$answer : 'refused';
        push @{$seen{$text}{names}}, $name;
        $seen{$text}{answer} = $answer;
        $count{$kind}{"refused by $name"}++ if defined $kind && !$answer;
    }
    $distinct[$at] = [map { $seen{$_}{answer} || () } sort keys %seen];
    next if keys %seen == 1 && !$seen{refused};
    if (defined $kind) { $count{$kind}{differ}++ if keys %seen > 1 }
    else {
        push @wrong, join "\n  ", shown($heads[$at]), map { "@{$seen{$_}{names}}: $_" } sort keys %seen;
    }
}
ok !@wrong, "$HEADS heads: the servers give the same answers" or diag join "\n", grep { defined } @wrong[0 .. 4];

# How streams begin without a content coding, whose events can be read here, and with one.
my $ticket    = EventSource::XS::Hub::Ticket->of({seconds => 600, headers => ['X-Device']});
my @passports = map {
    my $app = EventSource::XS::Hub::App->new(hub => $hub, channels => sub { 'news' }, compress => $_);
    $app->prepare_app;
    [$ticket->passport($hub, {}, $app->stream_beginning)];
} 0, 1;

# What the hub process answers to a head with a ticket of this answer: 'application', or what the reader has found.
sub hub_answer {
    my ($head, $answer, $coded) = @_;
    my $binding = pack 'H*', $answer->{binding} // '';
    my @stream  = ([{topics => ['news']}], {position => 'id', start => 'oldest'}, 600, 2048);
    my $ticket  = encode_base64url($hub->seal_ticket(@stream, binding => $binding, owner => '', @{$passports[$coded]}));
    my $client  = Testing::Client->connected($http);
    $client->say($head->[0] =~ s/\{ticket\}/$ticket/gr);
    $client->read_head($DEADLINE) or return 'nothing';
    return 'application'        if $client->header('X-Accel-Redirect');
    return $client->status_line if $client->status != 200;
    my @read = map { $client->header($_) // '' } qw(Preference-Applied Content-Encoding);
    if    ($read[0] =~ /wait/) { $client->read_all($DEADLINE) or return 'a poll without an end' }
    elsif (!$coded)            { $client->read_until(qr/^(?:data: .*|event: gap)\n/m) }
    my ($first) = $coded ? '' : $client->text =~ /^(data: .*|event: gap)$/m;
    $client->leave;
    return join '|', @read, $first // 'no event';
}

# What it is to answer.
sub expected {
    my ($answer, $coded) = @_;
    my $id = $answer->{id} // '';
    return 'application' if !defined $answer->{sealed} || $id eq unpack 'H*', $FINISHED;
    my $applied = defined $answer->{applied} ? pack('H*', $answer->{applied}) . ', ticket=hub' : '';
    my $coding = $coded ? pack 'H*', $answer->{coding} : 'identity';
    return join '|', $applied, $coding eq 'identity' ? '' : $coding, $coded ? '' : $data_after{$id} // 'event: gap';
}

my ($opened, @other, %polls) = 0;
for my $at (0 .. $#heads) {
    my ($head, $coded) = ($heads[$at], $at % 2);
    for my $answer (@{$distinct[$at]}) {
        my $expected = expected($answer, $coded);
        my $given    = hub_answer($head, $answer, $coded);
        if ($given ne 'application') {
            $opened++;
            $polls{(split / /, pack 'H*', $answer->{poll})[1]}++ if $answer->{poll};
        }
        next if $given eq $expected;
        if ($given eq 'application' && defined $head->[1]) {
            $count{$head->[1]}{'left to the application by the hub process'}++;
        }
        else { push @other, join "\n  ", shown($head), "expected: $expected", "given: $given" }
    }
}
ok !@other, 'the hub process gives the same answers' or diag join "\n", grep { defined } @other[0 .. 4];
cmp_ok $opened, '>', $HEADS / 3, 'to many it begins streams';
my $counted = $hub->stats->{polls};
is_deeply [map { $counted->{$_} } qw(mute silent refused cut other)], [map { $polls{$_} // 0 } 0 .. 4],
    'it counts polls by the same reasons';
for my $kind (sort keys %count) {
    note "$kind: ", join ', ', map { "$_ $count{$kind}{$_}" } sort keys %{$count{$kind}};
}
diag "EVENTSOURCE_XS_SEED=$SEED" if !Test::More->builder->is_passing;

done_testing;
