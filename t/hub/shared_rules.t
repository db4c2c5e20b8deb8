# Rules that stand in Perl, where an application calls, and in Rust, for hub processes and their other clients: both sides say
# the same.

use lib 't/lib';
use Testing qw(native);
use EventSource::Hub;
use EventSource::Hub::Process;
use EventSource::Parser;
use EventSource::XS::Hub::Name;
use EventSource::XS::Request;
use Plack::App::EventSource;
use Test::EventSource;
use Testing::Subscriber;
use Testing::SourceTree qw(slurp);

my $hub = EventSource::Hub->new;

# The field of the error that the code throws because of a wrong value; undef if it throws none of that kind.
sub wrong_field {
    my $code = shift;
    return undef if eval { $code->(); 1 };
    my $error = $@;
    return ref $error && $error->code eq 'invalid' ? $error->field : undef;
}

subtest 'the name of a hub' => sub {
    my $folder = new_folder;
    my @names  = ('a' x 64, 'a' x 65, 'a.b-c_d', map { ($_, "a$_") } map { chr } 1 .. 127);
    push @names, "\x{e9}", "a\x{e9}", "a\n", '';
    for my $name (@names) {
        my $native = wrong_field sub {
            EventSource::Hub::Process->connect(
                name      => $name,
                socket    => "$folder/none.sock",
                autostart => 0,
                timeout   => 0.001
            );
        };
        my $perl = EventSource::XS::Hub::Name->problem_of_hub($name);
        my $what = join ' ', map { sprintf '%02x', ord } split //, length $name > 4 ? substr $name, 0, 4 : $name;
        is defined $perl, defined $native, "'$what', of " . length($name) . ' characters';
    }
};

subtest 'the most channels of a stream' => sub {
    my ($most) = slurp('src/wire/settings.rs') =~ /Self \{ hub, max_topics: ([0-9]+),/;
    my $topics = sub {
        EventSource::Hub->check_topics(map { "a$_" } 1 .. $_[0]);
    };
    is wrong_field(sub { $topics->($most) }),     undef,      $most;
    is wrong_field(sub { $topics->($most + 1) }), 'channels', 'one more';
    ($most) = slurp('src/wire/request.rs') =~ /MAX_TOPICS: usize = ([0-9_]+);/;
    $most =~ tr/_//d;
    is wrong_field(sub { EventSource::Hub->new(max_topics => $most) }),     undef,        "at most $most, of a message";
    is wrong_field(sub { EventSource::Hub->new(max_topics => $most + 1) }), 'max_topics', 'no more';
};

subtest 'the longest name, key and id' => sub {
    my $most = EventSource::XS::Hub::Name->max_bytes;
    my %ways = (
        channel => sub { my $text = shift; $hub->publish($text, 'x') },
        key     => sub { my $text = shift; $hub->publish('a',   {key => $text, data => 'x'}) },
        id      => sub { my $text = shift; $hub->publish('a',   {id  => $text, data => 'x'}) },
    );
    for my $name (sort keys %ways) {
        for my $text ('x' x $most, "\x{e9}" x ($most / 2)) {
            is wrong_field(sub { $ways{$name}->($text) }),    undef, "$name: $most bytes are taken";
            is wrong_field(sub { $ways{$name}->("x$text") }), $name, "$name: one more is not";
        }
    }
};

subtest 'names that no page, pattern or command could have' => sub {
    my %ways = (
        'publish to'   => sub { $hub->publish($_[0], 'x') },
        'subscribe to' => sub { Testing::Subscriber->open($hub, $_[0]) },
        'count in'     => sub { $hub->subscribers($_[0]) },
    );
    for my $way (sort keys %ways) {
        is wrong_field(sub { $ways{$way}->($_->[1]) }), 'channel', "$way $_->[0]"
            for ['half of a surrogate pair', "a\x{D800}"], ['U+110000', "\x{110000}"], ['NUL in front', "\0ab"];
    }
    my %of_key = (
        publish => sub { $hub->publish(a => {key => $_[0], data => 'x'}) },
        forget  => sub { $hub->forget(a => $_[0]) },
    );
    for my $way (sort keys %of_key) {
        is wrong_field(sub { $of_key{$way}->("a$_->[1]") }), $_->[2], "$way, a key with $_->[0]"
            for ['half of a surrogate pair', "\x{DFFF}", 'key'], ['CR', "\rb", 'key'], ['LF', "\nb", undef];
    }
    is wrong_field(sub { $hub->publish('a', 'x', {once => "\x{D800}"}) }), 'once',  'once';
    is wrong_field(sub { $hub->end(label => "\x{D800}") }),                'label', 'a label';
};

subtest 'the event that sends a client away for good' => sub {
    my $id = Plack::App::EventSource::Connection->finished_id;
    is wrong_field(sub { $hub->publish('a', {id => $id, data => 'x'}) }), 'id', 'a hub takes its id from nobody';
    my $by_perl =
        Test::EventSource->new(app => Plack::App::EventSource->new(handler_cb => sub { $_[0]->finish })->to_app);
    my $by_hub  = Test::EventSource->new(app => $hub->to_app(channels => sub { 'a' }, position => 'none'));
    my @streams = map { $_->get('/') } $by_perl, $by_hub;
    $by_hub->wait_for(sub { $hub->subscribers('a') });
    $hub->end(topics => ['a'], finish => 1);
    my @events = map { $_->ends_ok; [EventSource::Parser->new->feed($_->raw)] } @streams;
    is_deeply $events[0], $events[1], 'finish of a connection and end of a hub send the same' or diag explain \@events;
    is $events[1][-1]{id}, $id, 'with this id';
};

subtest 'the header of streams that polls do not have' => sub {
    my ($name) = slurp('src/request.rs') =~ /ONLY_OF_STREAMS: &str = "(.*)"/;
    for my $prefer ('request=a', 'wait=5') {
        my %head = @{EventSource::XS::Request->preference({HTTP_PREFER => $prefer})->applied([$name => '?1', b => 2])};
        is join(' ', grep { exists $head{$_} } $name, 'b'), $prefer =~ /wait/ ? 'b' : "$name b", $prefer;
    }
};

done_testing;
