# Streams in an application of Dancer2: with a login, native, with resume and on_close; by POST; mistakes.

use lib 't/lib';
use Testing;
use Testing::Developer  qw(needs_module);
use Testing::Frameworks qw(application get log_in mistakes_ok post posts_ok publish streams_on);
use Testing::Server;

needs_module('Dancer2');

streams_on('dancer2.psgi', 'Starman', 'Twiggy');

subtest 'logout, and a login over a login' => sub {
    my $server = Testing::Server->start('Starman', application('dancer2.psgi'), workers => 1);
    for (['/login', 'user=bob&password=secret'], ['/logout', '']) {
        my ($path,  $form)  = @$_;
        my ($ends,  $stays) = map { log_in($server, $_) } 'anna', 'anna';
        my ($ended, $other) = map { get($server, '/events', cookie => $_) } $ends, $stays;
        ok $_->read_until(qr/^id: /m), 'a stream begins' for $ended, $other;
        is post($server, $path, cookie => $ends, form => $form)->status, 200, "POST $path";
        ok $ended->read_all, 'the stream of the session ends';
        like $ended->text, qr/^event: finish$/m, 'for good';
        my $text = publish($server, $stays, "after $path");
        ok $other->read_until(qr/after $path/), 'that of another session does not';
    }
};

for my $name ('Starman', 'Twiggy', 'uWSGI') {
    subtest "POST, $name" => sub {
        my $server = Testing::Server->start($name, 't/data/dancer2.psgi', workers => 1);
        posts_ok($server);
    };
}

subtest 'mistakes' => sub {
    my $server = Testing::Server->start('Starman', 't/data/dancer2.psgi', workers => 1);
    mistakes_ok($server, 'dancer2.psgi');
};

done_testing;
