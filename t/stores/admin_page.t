# The admin page of a hub whose store stops: it says so, has the line of the hub's log, and a test event says why it was not
# published.

use lib 't/lib';
use Testing qw(Redis);
use EventSource::Hub;
use EventSource::Hub::Process;
use JSON::PP ();

Testing->need('named_hubs');

my $folder = new_folder;
my @place  = (name => 'shop', socket => "$folder/s");
my $redis  = Testing::Redis->start;
my $hub    = EventSource::Hub->new(@place, store => {redis => $redis->url}, publish_timeout => 1);
my $app    = $hub->admin_app(allow => sub { 1 });

sub ask {
    my ($path, %env) = @_;
    my %request = (REQUEST_METHOD => 'GET', SCRIPT_NAME => '', PATH_INFO => $path, QUERY_STRING => '');
    my $answer  = $app->({%request, REMOTE_ADDR => '127.0.0.1', 'psgi.url_scheme' => 'http', %env});
    return ($answer->[0], join '', @{$answer->[2]});
}

sub look { return JSON::PP::decode_json((ask('/look'))[1]) }

sub publish {
    my $body = '{"channel":"news","data":"hello"}';
    open my $input, '<', \$body or die "$!\n";
    my %body = (CONTENT_TYPE => 'application/json', CONTENT_LENGTH => length $body, 'psgi.input' => $input);
    return ask('/publish', REQUEST_METHOD => 'POST', 'psgix.input.buffered' => 1, %body);
}

is((publish())[0], 200, 'an event is published, which starts the hub process');
my $store = look()->{store};
is_deeply [@$store{qw(kind up)}], ['redis', 1], 'the store is up';
$redis->stop;
ok wait_until(sub { !look()->{store}{up} }), 'the store is down';
like look()->{store}{last_error}, qr/cannot be reached/, 'with the reason';
eventually_ok 'the log has the line' => sub {
    grep { $_->{message} =~ /\Athe store is down / } @{look()->{lines}};
};
my ($status, $text) = publish();
is $status, 503, 'an event is refused';
like $text, qr/\Athe event was not published: Redis .* cannot be reached/, 'with the reason';
EventSource::Hub::Process->stop(@place);

done_testing;
