# The test of mojolicious.pl. A stream does not end, so get_ok would wait for ever: the user agent reads it beside the test.
use strict;
use warnings;

use Mojo::File qw(curfile);
use Mojo::IOLoop;
use Test::Mojo;
use Test::More;

my $t = Test::Mojo->new(curfile->sibling('mojolicious.pl'));

# Begin to read a stream. Return a function that waits until it matches.
sub stream {
    my ($path, $body) = (shift, '');
    my $tx = $t->ua->build_tx(GET => $path);
    $tx->res->content->unsubscribe('read')->on(read => sub { $body .= $_[1] });
    $t->ua->start($tx => sub { });
    return sub {
        my ($pattern, $name) = @_;
        my $is_late = 0;
        my $timer   = Mojo::IOLoop->timer(10 => sub { $is_late = 1 });
        Mojo::IOLoop->one_tick until $body =~ $pattern || $is_late;
        Mojo::IOLoop->remove($timer);
        return like $body, $pattern, $name;
    };
}

$t->get_ok('/events')->status_is(403);
$t->post_ok('/login', form => {user => 'anna', password => 'secret'})->status_is(200);

my $comes = stream('/events');
$comes->(qr/^id: /m, 'the stream has begun');
$t->post_ok('/news', form => {text => 'hello'})->status_is(200);
$comes->(qr/^data: hello$/m, 'the event comes');

done_testing;
