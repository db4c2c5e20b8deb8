# OpenAI's SDK for Python understands the streams of handlers, with a reconnection time, ids and comments, and of a hub without
# positions.

use lib 't/lib';
use Testing;
use JSON::PP ();
use Testing::Clients::Install;
use Testing::CuttableProxy;
use Testing::Program;
use Testing::Server;

my $trouble = Testing::Clients::Install->missing('python');
plan skip_all => $trouble if defined $trouble;

my $JSON = JSON::PP->new->utf8;

# The lines that a run of the SDK has printed.
sub lines {
    return map { /\A\{/ ? $JSON->decode($_) : () } split /\n/, $_[0]->log;
}

sub start_sdk {
    my ($proxy, $app) = @_;
    my $sdk = Testing::Program->new('openai_chat.py');
    return $sdk->run({}, Testing::Clients::Install->path('python'),
        't/clients/openai_chat.py', $proxy->url("/stream/$app"));
}

for my $name (qw(Starman Twiggy)) {
    subtest $name => sub {
        my $server = Testing::Server->start($name, 't/clients/openai.psgi', workers => 1);
        my $proxy  = Testing::CuttableProxy->start($server->port);
        my $ask    = sub { $server->ask('/continue') };

        for my $app (qw(plain all hub)) {
            my $seen = $proxy->state->{reads};
            my $sdk  = start_sdk($proxy, $app);
            ok wait_until($DEADLINE, sub { lines($sdk) }), 'the first chunk arrives before the stream continues'
                if $app ne 'hub';
            ok wait_until($DEADLINE, sub { $proxy->state->{reads} >= $seen + 5 }), "$app: keepalives are sent";
            ok $ask->(),                                                           'the stream continues';
            ok wait_until($DEADLINE, sub { $sdk->has_ended }),                     'the SDK ends';
            my @lines = lines($sdk);
            is_deeply pop @lines, {state => 'end'}, 'it takes [DONE] for the end';
            is_deeply [map { $_->{content} } @lines],
                ["Count to five.\n", 'one, ', "two,\nthree, ", '☺, ', 'five', undef],
                'each chunk arrives once, exactly, and a keepalive is not a chunk';
            is + ($lines[-1] // {})->{finish}, 'stop', 'the last chunk has its reason';
        }

        $proxy->plan([-1, 'close'], [-21, 'reset']);
        my $sdk = start_sdk($proxy, 'plain');
        ok wait_until($DEADLINE, sub { lines($sdk) }),
            'after two cuts before the end of the head the SDK has asked again';
        is $proxy->state->{left}, 0, 'and both were made';
        $proxy->hold;
        ok wait_until($DEADLINE, sub { $sdk->has_ended }), 'a cut within the stream ends the SDK';
        is((lines($sdk))[-1]{state}, 'error', 'with an error: it does not take the cut for the end');
        $proxy->release;
        $ask->();
    };
}

done_testing;
