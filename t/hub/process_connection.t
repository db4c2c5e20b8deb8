# EventSource::Hub->process: another connection to the hub process, which can do what a hub object cannot.

use lib 't/lib';
use Testing qw(named_hubs);
use EventSource::Hub;
use Test::EventSource;
use Testing::Errors qw(error_ok);
use Testing::StoredHub;

my $started = Testing::StoredHub->start(undef);
my $hub     = $started->hub;
$hub->publish(news => 'hello');

my $process = $hub->process;
isa_ok $process, 'EventSource::Hub::Process';
is $process->pid, $hub->stats->{process}{pid}, 'it is connected to this hub';
my %rate_of;
$process->channels('**', sub { $rate_of{$_[0]{name}} = $_[0]{rate} });
is_deeply \%rate_of, {news => 0.1}, 'and knows its channels, with their events a second over the last ten seconds';

my @circle;
push @circle, \@circle;
my $deep = [];
$deep = [$deep] for 1 .. 600;
for my $case ([code => sub { }], [circle => \@circle], [depth => $deep]) {
    my ($what, $json) = @$case;
    my %call = (
        publish       => sub { $process->publish(news => {json => $json}) },
        begin_publish => sub { $process->begin_publish(news => {json => $json}) },
        forget        => sub { $process->forget(news => 'key', {json => $json}) },
    );
    for my $method (sort keys %call) {
        error_ok("$what in json of $method", invalid => 'json', $call{$method});
        like $@, qr/ at \Q${\__FILE__}\E line /, 'at the line of the call';
    }
}
is $process->publish(news => {json => {b => 2, a => "\x{e9}"}}) =~ /-2\z/, 1, 'what is JSON is published after that';

{
    no warnings 'utf8';
    my %event = map { ($_ => "$_ \x{D800}\x{110000}") } qw(comment data event id);
    $process->publish(unfit => \%event);
    my $reader = $process->follow('unfit', {start => 'oldest'})->socket;
    my $text   = '';
    $reader->blocking(0);
    wait_until($DEADLINE, sub { sysread $reader, $text, 4096, length $text; $text =~ /^data: .*\n(?:.+\n)*\r?\n/m })
        or diag $text;
    is scalar(() = $text =~ /\xEF\xBF\xBD\xEF\xBF\xBD/g), 4, 'a character that is not Unicode is U+FFFD in each field';
}

for my $method (qw(publish begin_publish)) {
    error_ok("options of $method", invalid => 'options', sub { $process->$method(news => 'x', {once => 1}) });
}
error_ok('options of forget', invalid => 'options', sub { $process->forget(news => 'key', undef, {once => 1}) });
like $@, qr/once is a field of the event.* at \Q${\__FILE__}\E line /, 'with the remedy, at the line of the call';
is $process->forget(news => 'key', {once => 1}), $process->forget(news => 'key', {once => 1}), 'a field it is';

error_ok('more topics than a message may have', invalid => 'channels', sub { $process->follow(0 .. 65_536) });

ok !eval { EventSource::Hub->new->process; 1 }, 'a hub without a name has none';
is $@ && $@->code, 'state', 'which is an error in the state';

is $hub->process(timeout => 3)->pid, $process->pid, 'a timeout';
error_ok('a wrong timeout',   invalid => 'timeout', sub { $hub->process(timeout => 0) });
error_ok('an unknown option', invalid => 'name',    sub { $hub->process(name    => 'other') });

subtest 'a stream that follows channels, and resumes over another connection' => sub {
    my $bytes  = '';
    my $on     = {on_bytes => sub { $bytes .= $_[1] }};
    my $stream = $process->follow("odd%\nname", EventSource::Hub->pattern('even/*'), $on);
    my $next   = sub {
        my @events;
        while (@events < $_[0]) { push @events, @{$stream->read || return 'the end'} }
        return \@events;
    };
    my $id = $process->publish("odd%\nname" => {event => 'greeting', data => 'hello'});
    is_deeply $next->(1), [{channel => "odd%\nname", event => 'greeting', id => $id, data => 'hello'}], 'an event';
    like $bytes, qr/^:channel odd%25%0Aname\nevent: greeting\ndata: hello\n/m, 'and its bytes';
    is $stream->last_event_id, $id, 'its id is the last one';
    my @ids = map { $process->publish($_ => 'more') } 'even/1', 'news', 'even/2';
    $stream = $stream->resume($hub->process);
    is_deeply [map { $_->{id} } @{$next->(2)}], [@ids[0, 2]], 'what was missed comes';
    $stream = $process->follow('news', {after => 'unknown'});
    is_deeply [map { [@$_{qw(event is_gap)}] } @{$next->(1)}], [['gap', 1]], 'an unknown id has a gap';
    $stream->socket->blocking(0);
    is_deeply $stream->read, [], 'a handle that does not block is not waited for';
    $stream->socket->blocking(1);
    error_ok('a wrong option', invalid => 'on_bytes', sub { $process->follow('news', {on_bytes => 1}) });
    $stream = $process->follow('news', {on_bytes => sub { die "once\n" if $_[1] =~ /first/ }});
    $process->publish(news => 'first');
    ok !eval { $next->(1) }, 'a callback that dies';
    alarm $DEADLINE;    # otherwise it would wait for ever
    is_deeply [map { $_->{data} } @{$stream->read}], ['first'],
        'the next call has its event, and waits for no other one';
    $process->publish(news => 'second');
    is_deeply [map { $_->{data} } @{$next->(1)}], ['second'], 'loses no event';
    alarm 0;
    $process->stop;
    is $next->(1),      'the end', 'the stream ends with the process';
    is $stream->socket, undef,     'and its handle';
};

subtest 'a gap after an event that is only a comment' => sub {
    my $limited = Test::EventSource->private_hub(keep_history => {events => 1}, on_slow => 'gap');
    $limited->publish(news => 'first');
    my $slow   = $limited->process;
    my $stream = $slow->follow('news');
    $slow->publish(news => {comment => 'x' x 100_000}) for 1 .. 100;
    my $id = $slow->publish(news => 'last');
    my @events;
    push @events, @{$stream->read || last} until @events && $events[-1]{id} eq $id;
    is_deeply [map { [@$_{qw(event is_gap channel)}] } @events], [['gap', 1, undef], ['message', undef, 'news']],
        'has no channel';
};

done_testing;
