# Streams on the server's writer end with their worker where no process takes their relay over (relay_process.t), such as if the
# hub may have no such processes. Their bytes go through the worker. The clients resume without loss, the hub keeps nothing
# of them, and the server answers. A worker that its server replaces (HUP) ends such a stream with a retry.

use lib 't/lib';
use Testing             qw(Outlive=Starman);
use Testing::Process    qw(is_running);
use Testing::Subscriber qw(events);

# Each row: the server, the path, and whether it has TLS.
my @RUNS = (
    ['Starman', '/hub',      1],
    ['Starman', '/filtered', 0],
    ['Starlet', '/filtered', 0],
    ['uWSGI',   '/filtered', 0],
    ['Twiggy',  '/filtered', 0],
    ['Feersum', '/filtered', 0],
);

for my $row (grep { Testing::Server->tested($_->[0]) } @RUNS) {
    my ($name, $path, $is_tls) = @$row;
    subtest "$name, $path" . ($is_tls ? ', TLS' : '') => sub {
        my $is_alone = $name =~ /Twiggy|Feersum/;
        my $self     = Testing::Outlive->start(
            $name,
            by_hand => 1,
            single  => $is_alone,
            workers => 3,
            start   => {tls        => $is_tls},
            env     => {HUB_RELAYS => 0}
        );
        $self->{reload} = $name =~ /\AStar/;    # the worker would wait for the end of the stream
        _resumes($self, $path, $is_alone);
    };
}

sub _resumes {
    my ($self, $path, $is_alone) = @_;
    my %tls = $self->{server}->certificate ? (certificate => $self->{server}->certificate) : ();
    my $hub = $self->hub;
    my @published;
    my $publish = sub { push @published, [$hub->publish(news => scalar @published), scalar @published]; return };
    my @got;
    my $read = sub {
        my $client = shift;
        my $has    = $client->read_until(qr/^id: \Q$published[-1][0]\E\r?\n\r?\n/m);
        push @got, map { [@$_{qw(id data)}] } events($client->text);
        return $has;
    };
    my $stream = $self->open($path, %tls);
    for my $signal (qw(KILL SEGV), $self->{reload} ? 'HUP' : ()) {
        $publish->() for 1 .. 3;
        ok $read->($stream->{client}), "$signal: the stream has the events";
        my $worker = $stream->{worker};
        if   ($is_alone) { $self->{server}->restart('KILL') }
        else             { kill $signal => $signal eq 'HUP' ? $self->{server}->pid : $worker }
        ok wait_until($DEADLINE, sub { !is_running($worker) }), "$signal: the worker has ended";
        ok $stream->{client}->read_all,                         "$signal: the stream has ended";
        like $stream->{client}->text, qr/^retry: [0-9]+\r?\n\z/m, "$signal: the last block is a retry"
            if $signal eq 'HUP';
        ok wait_until($DEADLINE, sub { !$hub->subscribers('news') }), "$signal: the hub keeps nothing of it";
        $publish->() for 1 .. 3;
        $stream = $self->open($path, %tls, headers => ['Last-Event-ID' => $got[-1][0]]);
    }
    $publish->();
    ok $read->($stream->{client}), 'the stream has the last event';
    is_deeply \@got, \@published, 'the client has all events once and in order';
    $self->end(%tls);
    return;
}

done_testing;
