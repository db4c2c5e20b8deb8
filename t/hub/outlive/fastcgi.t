# A named hub with the workers of a FastCGI server behind nginx. A process of its own takes each stream
# over: the worker takes the next request, and the stream outlives it. Where the hub may have no such processes, a stream
# holds its worker until the client leaves, and ends with it. nginx may keep its connections.

use lib 't/lib';
use Testing qw(Outlive=FCGI Nginx);
use Testing::Client;
use Testing::Process qw(is_running);

for my $is_unix (1, 0) {
    subtest 'streams that outlive their workers, over ' . ($is_unix ? 'a Unix socket' : 'TCP') => sub {
        my $self  = Testing::Outlive->start('FCGI', by_hand => 1, workers => 1, start => {unix => $is_unix});
        my $nginx = Testing::Nginx->start($self->{server}, $is_unix ? 'FastCGI, kept' : 'FastCGI');
        $self->open('/hub', at => $nginx->at) for 1 .. 3;
        is $self->relays,                3,       'each stream has a process';
        is _get($nginx, '/plain')->body, 'plain', 'the worker is free';
        $self->start_publisher;
        ok $self->let_publish, 'there is a publisher';
        for my $signal (qw(SEGV KILL TERM)) {
            my $stream = $self->open('/hub', at => $nginx->at);
            ok _ends($stream->{worker}, $signal), "$signal: the worker ends";
            ok $self->let_publish,                "$signal: events are published";
            ok _get($nginx, '/plain')->complete,  "$signal: another one answers";
        }
        $self->check_streams('workers that end');
        my $left = pop @{$self->{clients}};
        $left->{client}->leave;
        ok wait_until($DEADLINE, sub { $self->relays == 5 }),                   'a process ends when its client leaves';
        ok wait_until($DEADLINE, sub { $self->hub->subscribers('news') == 5 }), 'the hub keeps nothing of it';
        my $served = $self->open('/served', at => $nginx->at);
        is _get($nginx, "/close?$served->{worker}")->body, 'closed', 'a worker closes a stream';
        ok $served->{client}->read_all, 'it ends';
        ok $served->{client}->complete, 'its response is complete';
        pop @{$self->{clients}};
        is _posts_after_ends($self, $nginx), 10, 'a request that follows an end at once is answered';
        $self->end;
        ok wait_until($DEADLINE, sub { !$self->relays }), 'nothing is left';
    };
}

subtest 'without such processes' => sub {
    my $self =
        Testing::Outlive->start('FCGI', by_hand => 1, workers => 1, start => {unix => 1}, env => {HUB_RELAYS => 0});
    my $nginx  = Testing::Nginx->start($self->{server}, 'FastCGI');
    my $stream = $self->open('/hub', at => $nginx->at);
    my $id     = $self->hub->publish(news => 'event');
    ok $stream->{client}->read_until(qr/^id: \Q$id\E\r?\n\r?\n/m), 'the stream has the event';
    is $self->relays, 0, 'there is no process';
    $stream->{client}->leave;
    is _get($nginx, '/plain')->body, 'plain', 'the worker is free when the client has left';

    for my $signal (qw(KILL TERM)) {
        my $held = $self->open('/hub', at => $nginx->at);
        ok _ends($held->{worker}, $signal), "$signal: the worker ends";
        ok $held->{client}->read_all,       "$signal: the stream ends with it";
        is scalar($held->{client}->text =~ /^retry: /m), $signal eq 'TERM' ? 1 : '',
            "$signal: there is a retry or none";
    }
    ok wait_until($DEADLINE, sub { !$self->hub->subscribers('news') }), 'the hub keeps nothing of them';
    $self->end;
};

# A signal that arrives just before a worker waits for a request is noted and forgotten, so it is sent again; but not to a
# worker that ends: FCGI::ProcManager has perl run its handler at any moment, and amid an allocation that never returns.
sub _ends {
    my ($pid, $signal) = @_;
    return wait_until $DEADLINE, sub {
        kill $signal => $pid;
        return wait_until(3, sub { !is_running($pid) });
    };
}

sub _get {
    my ($nginx, $path, @option) = @_;
    my $client = Testing::Client->get($nginx->at, $path, @option);
    $client->read_all;
    return $client;
}

# How many of ten requests that follow the end of a stream at once are answered. nginx repeats no POST.
sub _posts_after_ends {
    my ($self, $nginx) = @_;
    my $answered = 0;
    for (1 .. 10) {
        $self->open('/hub', at => $nginx->at);
        $self->hub->end(topics => 'news');
        (pop @{$self->{clients}})->{client}->read_all;
        $answered++ if _get($nginx, '/plain', method => 'POST', headers => ['Content-Length', 0])->body eq 'plain';
    }
    return $answered;
}

done_testing;
