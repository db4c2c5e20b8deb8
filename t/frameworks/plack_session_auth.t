# Streams in an application of Plack alone, behind the middleware for sessions and for HTTP authentication: with a login,
# native, with resume and on_close.

use lib 't/lib';
use Testing;
use MIME::Base64        qw(encode_base64);
use Testing::Developer  qw(needs_module);
use Testing::Frameworks qw(application get streams_on);
use Testing::Server;

needs_module('Plack::Middleware::Session');

streams_on('plack.psgi', 'Starman', 'Twiggy');

subtest 'HTTP authentication' => sub {
    my %env    = (EVENTSOURCE_XS_DEBUG => 1);
    my $server = Testing::Server->start('Starman', application('plack.psgi'), workers => 1, env => \%env);
    my $client = get($server, '/staff');
    ok $client->read_all && $client->complete, 'a request without a password is answered in full';
    is $client->status, 401, 'with status 401';
    my $basic = 'Basic ' . encode_base64('anna:secret', '');
    $client = get($server, '/staff', headers => [Authorization => $basic]);
    ok $client->read_until(qr/^id: /m), 'with the password it is a stream';
    like $server->log, qr{/staff: native stream}, 'which is native';
};

done_testing;
