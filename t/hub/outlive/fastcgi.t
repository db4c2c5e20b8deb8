# A hub in a process of its own with the workers of a FastCGI server behind nginx. All bytes go through a worker, so a stream
# ends with it; an event that another worker publishes arrives, and the client resumes without loss. At TERM a worker waits
# for its stream to end: nothing shows the application that FCGI::ProcManager has taken the signal.

use strict;
use warnings;

use lib 't/lib';
use Testing::Client;
use Testing::Deadline qw(wait_until);
use Testing::Nginx;
use Testing::Outlive;
use Testing::Process    qw(is_running);
use Testing::Subscriber qw(events);
use Test::More;

my $DEADLINE = 20;    # seconds

Testing::Outlive->require_or_skip_all('FCGI');
Testing::Nginx->require_or_skip_all;

my $self  = Testing::Outlive->start('FCGI', by_hand => 1, workers => 3, start => {unix => 1});
my $nginx = Testing::Nginx->start($self->{server}, 'FastCGI');
my (@published, @got);

sub get {
    my ($path, %option) = @_;
    return Testing::Client->get($nginx->at, $path, %option);
}

# Has a worker publish, another one than that of the stream: that one serves the stream.
sub publish {
    my $number = @published;
    my $client = get("/publish?$number", headers => [Connection => 'close']);
    $client->read_all($DEADLINE);
    push @published, [$client->body, $number];
    return $client->header('X-Worker');
}

sub open_stream {
    my @headers = @got ? (headers => ['Last-Event-ID' => $got[-1][0]]) : ();
    my $client  = get('/hub', @headers);
    ok $client->read_until(qr/^id: .*\n\r?\n/m, $DEADLINE), 'a stream begins'
        or diag $client->status, $self->{server}->log;
    return $client;
}

sub read_events {
    my $client = shift;
    my $has    = $client->read_until(qr/^id: \Q$published[-1][0]\E\r?\n\r?\n/m, $DEADLINE);
    push @got, map { [@$_{qw(id data)}] } events($client->text);
    return $has;
}

my $stream = open_stream();
for my $signal (qw(KILL SEGV)) {
    my $worker = $stream->header('X-Worker');
    my %by     = map { (publish() => 1) } 1 .. 3;
    ok !$by{$worker},        "$signal: other workers publish";
    ok read_events($stream), "$signal: the stream has the events";
    kill $signal => $worker;
    ok wait_until($DEADLINE, sub { !is_running($worker) }),             "$signal: the worker ends";
    ok $stream->read_all($DEADLINE),                                    "$signal: the stream ends";
    ok wait_until($DEADLINE, sub { !$self->hub->subscribers('news') }), "$signal: the hub keeps nothing of it";
    publish() for 1 .. 3;
    $stream = open_stream();
}
publish();
ok read_events($stream), 'the stream has the last event';
is_deeply \@got, \@published, 'the client has all events once and in order';
$stream->leave;
kill KILL => $stream->header('X-Worker');    # FastCGI shows no application that its client has left
$self->end;

done_testing;
