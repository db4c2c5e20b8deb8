# ithreads: a thread has copies of a test's streams. They do not affect the originals.

use lib 't/lib';
use Testing;
use Config;
BEGIN { plan skip_all => 'this perl has no threads' if !$Config{useithreads} }
use threads;

use Plack::App::EventSource;
use Test::EventSource;

my @kept;
my $app    = Plack::App::EventSource->new(handler_cb => sub { push @kept, $_[0] })->to_app;
my $es     = Test::EventSource->new(app => $app);
my $stream = $es->get('/');

threads->create(sub { return })->join;
$kept[0]->push('one');
$stream->like_event('one', 'a thread that ends with a copy does not end the stream');

threads->create(sub { $stream->close; return })->join;
$kept[0]->push('two');
$stream->like_event('two', 'a thread that closes its copy does not end the stream');

$stream->close;
my @told;
$kept[0]->on_close(sub { push @told, $_[1] });
ok $es->wait_for(sub { @told }), 'on_close is called when the test closes the stream';
is_deeply \@told, ['client'], 'the reason is client';

done_testing;
