# A name in bytes of UTF-8, as PSGI gives it, and the same name in characters are one name: of channels, patterns, labels,
# members, keys and all else that "Names" in EventSource::Hub lists. Characters that look like these bytes are another name.

use lib 't/lib';
use Testing qw(named_hubs);
use EventSource::Hub;
use EventSource::Hub::Lease;
use EventSource::Server;
use EventSource::XS::Outbox::Row;
use EventSource::XMPP;
use MIME::Base64 qw(encode_base64);
use Plack::App::EventSource::PubSub;
use Test::EventSource qw(members_are state_is);
use Testing::Client;
use Testing::CommandLine;
use Testing::Server;

my @NAMES = ('josé', 'größe', "\x{1F600}", 'ascii');

sub bytes_of {
    my $text = shift;
    utf8::encode($text);
    return $text;
}

# The ways to write a name in Perl: of é only one byte, E9, is not UTF-8, and means the character.
sub spellings {
    my $name     = shift;
    my %spelling = (characters => $name, bytes => bytes_of($name));
    $spelling{'Latin 1'} = $name if utf8::downgrade($name, 1);
    utf8::upgrade($spelling{characters});
    return %spelling;
}

# Another name, of characters: the bytes of this one.
sub lookalike {
    my $bytes = bytes_of(shift);
    utf8::upgrade($bytes);
    return $bytes;
}

sub app_of {
    my ($hub, %option) = @_;
    return Test::EventSource->new(app => $hub->to_app(channels => sub { 'c' }, %option));
}

my %hub = (
    'in one process'    => EventSource::Hub->new,
    'named'             => Test::EventSource->private_hub(name => 'plain'),
    'with its channels' => Test::EventSource->private_hub(name => 'shown', show_channel => 'data'),
);
my $count = 0;

# What is done with one spelling, and whether it is the same for another.
my %OF_HUB = (
    'a channel' => sub {
        my ($hub, $one, $other) = @_;
        my $id = $hub->publish($one => 'data');
        return grep { $_->{id} eq $id } $hub->history($other);
    },
    'a channel that is read' => sub {
        my ($hub, $one, $other) = @_;
        my $stream = app_of($hub, channels => sub { "read/$one" })->get('/');
        return $hub->subscribers("read/$other") == 1;
    },
    'a pattern that is read' => sub {
        my ($hub, $one, $other) = @_;
        my $stream = app_of($hub, channels => sub { $hub->pattern("$one/*") })->get('/');
        return $hub->subscribers("$other/x") == 1;
    },
    'a label' => sub {
        my ($hub, $one, $other) = @_;
        my $stream = app_of($hub, label => sub { "user/$one" })->get('/');
        return $hub->end(label => "user/$other");
    },
    'a topic that ends' => sub {
        my ($hub, $one, $other) = @_;
        my $stream = app_of($hub, channels => sub { "end/$one" })->get('/');
        return $hub->end(topics => ["end/$other"]);
    },
    'an owner' => sub {
        my ($hub, @names) = @_;
        my ($one, $other) = map {
            my $label = $_;
            app_of($hub, label => sub { $label })->get('/')->header('EventSource-Owner')
        } @names;
        return $one eq $other;
    },
    'a member' => sub {
        my ($hub, $one, $other) = @_;
        my $member = {id => $one, channel => "room/$one", leave_after => 0};
        my $stream = app_of($hub, member => sub { $member })->get('/');
        return $hub->members_count("room/$other")
            && $hub->update_member("room/$other", $other, {json => {n => ++$count}});
    },
    'a key' => sub {
        my ($hub, $one, $other) = @_;
        $hub->publish(state => {key => $one, data => 'x', retain => 1});
        $hub->forget(state => $other);
        my $is_there = $hub->state('state');
        $hub->forget(state => $one);
        return !$is_there;
    },
    'the data of what is forgotten' => sub {
        my ($hub, @names) = @_;
        my ($one, $other) = map { $hub->forget(f => $_); ($hub->history('f', last => 1))[0]{data} } @names;
        return $one eq $other;
    },
    'once' => sub {
        my ($hub, @names) = @_;
        $count++;
        my ($one, $other) = map { $hub->publish(once => 'x', {once => "$count $_"}) } @names;
        return $one eq $other;
    },
    'a key of max_streams_per' => sub {
        my ($hub, @names) = @_;
        my @keys    = @names;
        my $es      = app_of($hub, max_streams_per => [sub { shift @keys }, 1]);
        my @streams = map { $es->get('/') } @names;
        return $streams[1]->status == 429;
    },
    'a channel of max_streams_per' => sub {
        my ($hub, @names) = @_;
        my @channels = @names;
        my $es       = app_of $hub, channels => sub {
            [shift @channels, {max_streams_per => [sub { 'key' }, 1]}]
        };
        my @streams = map { $es->get('/') } @names;
        return $streams[1]->status == 429;
    },
    'a channel of two elements' => sub {
        my ($hub, $one, $other) = @_;
        my @channels = ('end', ["twice/$one", {start => -1}], "twice/$other");
        $count++;
        $hub->publish("twice/$other" => "number $count");
        my $stream = app_of($hub, channels => sub { @channels })->get('/');
        $hub->publish(end => 'end');
        return $stream->next_event->{data} =~ /number $count\b/;
    },
    'a type' => sub {
        my ($hub, @names) = @_;
        my $typed = EventSource::Hub->new(show_channel => 'event');
        my ($one, $other) = map { $typed->type_of($_, 'data') } @names;
        return $one eq $other;
    },
    'the channel of a server' => sub {
        my ($hub, $one, $other) = @_;
        my $id = EventSource::Server->new(hub => $hub, channel => $one)->emit('x');
        return grep { $_->{id} eq $id } $hub->history($other);
    },
);

my %OF_PROCESS = (
    'a channel' => sub {
        my ($process, $one, $other) = @_;
        my $id = $process->publish($one => 'data');
        return grep { $_->{id} eq $id } $process->history($other);
    },
    'a key' => sub {
        my ($process, $one, $other) = @_;
        $process->publish(state => {key => $one, data => 'x', retain => 1});
        $process->forget(state => $other);
        my $is_there = $process->state('state');
        $process->forget(state => $one);
        return !$is_there;
    },
    'a pattern' => sub {
        my ($process, $one, $other) = @_;
        $process->publish("list/$one" => 'data');
        my $found = 0;
        $process->channels("list/$other", sub { $found++ });
        return $found;
    },
);

# Settings of channels have taken effect when the first event is evicted.
sub has_settings {
    my ($one, $other) = @_;
    my $hub = EventSource::Hub->new(per_channel => {"$one*" => {keep_history => {events => 1}}});
    $hub->publish($other => $_) for 1, 2;
    return wait_until($DEADLINE, sub { 1 == $hub->history($other) });
}

# What the name is in the place that takes it.
my %TAKES = (
    'a row of an outbox' => sub {
        my $row = EventSource::XS::Outbox::Row->of_event($_[0], {key => $_[0], data => 'x'}, $_[0]);
        return map { utf8::decode(my $text = $row->{$_}); $text } qw(channel event_key once);
    },
    'the channel as the type of an event' =>
        sub { EventSource::Hub->new(show_channel => 'event')->type_of($_[0], {data => 1}) },
    'a pattern' => sub { ${EventSource::Hub->pattern($_[0])} },
    'a lease'   => sub {
        EventSource::Hub::Lease->new(hub => $hub{named}, name => $_[0], on_change => sub { })->name;
    },
    'nodes of XMPP' => sub {
        my ($given)    = @_;
        my %of_service = (jid => 'j', password => 'p', service => 's', prefix => "$given/");
        my $options    = EventSource::XS::XMPP::Options->new(
            %of_service,
            hub   => $hub{named},
            nodes => [$given, $hub{named}->pattern("$given*")]
        );
        return (@{$options->{names}}, grep { $options->has_pattern_for($_) } $options->{prefix} =~ m{(.*)/});
    },
    'a node of a publisher' => sub {
        my $publisher = EventSource::XMPP->publisher(hub => $hub{named}, service => 's', prefix => "$_[0]/");
        return $publisher->_node_of("$_[0]/$_[0]");
    },
);

sub same_ok {
    my ($what, $is_same, $of, $name) = @_;
    my %spelling = spellings($name);
    my @wrong;
    for my $one (sort keys %spelling) {
        for my $other (sort keys %spelling) {
            push @wrong, "$one and $other" if !$is_same->($of, @spelling{$one, $other});
        }
    }
    is_deeply \@wrong, [], "$what: $name is one name";
    ok !$is_same->($of, $name, lookalike($name)), "$what: and not the name of its bytes" if $name =~ /[^\0-\x7F]/;
    return;
}

for my $kind (sort keys %hub) {
    for my $name (@NAMES) {
        subtest "a hub $kind: $name" => sub {
            same_ok($_, $OF_HUB{$_}, $hub{$kind}, $name) for sort keys %OF_HUB;
            my $process = $kind ne 'in one process' && $hub{$kind}->process or return;
            same_ok("its process, $_", $OF_PROCESS{$_}, $process, $name) for sort keys %OF_PROCESS;
        };
    }
}

my %NUMBER = ('a row of an outbox' => 3, 'nodes of XMPP' => 2);
for my $name (@NAMES) {
    my %spelling = spellings($name);
    for my $what (sort keys %TAKES) {
        is_deeply [$TAKES{$what}->($spelling{$_})], [($name) x ($NUMBER{$what} || 1)], "$what: $name in $_"
            for sort keys %spelling;
    }
    ok has_settings(@spelling{@$_}), "channels: $name in @$_" for ['bytes', 'characters'], ['characters', 'bytes'];
}

# The path of a request names a node in bytes.
for my $name (@NAMES) {
    my %spelling = spellings($name);
    my $path     = '/' . bytes_of($name) =~ s/([^a-z])/sprintf '%%%02X', ord $1/ger;
    for my $how (sort keys %spelling) {
        my $given = $spelling{$how};
        my %nodes = (array => [$given], hash => {$given => 1});
        for my $kind (sort keys %nodes) {
            my $hub = EventSource::Hub->new;
            my $app = Plack::App::EventSource::PubSub->new(
                hub       => $hub,
                nodes     => $nodes{$kind},
                prefix    => "$given/",
                authorize => sub { $_[2] eq $name },
            );
            my $status = Test::EventSource->new(app => $app->to_app)->post($path, content => 'x')->code;
            is $status,                                           200, "nodes, an $kind: $name in $how";
            is scalar(my @events = $hub->history("$name/$name")), 1,   "the prefix: $name in $how";
        }
    }
}

subtest 'the names of a test' => sub {
    my $hub = EventSource::Hub->new;
    for my $name (@NAMES) {
        my %spelling = spellings($name);
        my $member   = {id => $name, channel => 'people', json => {n => 1}, leave_after => 0};
        my $stream   = app_of($hub, member   => sub { $member })->get('/');
        my $state    = app_of($hub, channels => sub { 'state' }, start => 'state')->get('/', state => {key => 'item'});
        $hub->publish(state => {key => $name, retain => 1, json => {item => $name}});
        for my $how (sort keys %spelling) {
            my $given = $spelling{$how};
            members_are($hub, people => [$given],             "members_are, a list: $name in $how");
            members_are($hub, people => {$given => {n => 1}}, "members_are, a hash: $name in $how");
            state_is($state, {$given => {json => {item => $name}}}, "state_is: $name in $how");
        }
        $stream->close;
        $hub->forget(state => $name);
        ok wait_until($DEADLINE, sub { !$hub->members('people') }), "$name leaves";
    }
};

# As the manuals say: a server that gives bytes, commands in UTF-8, and an application in characters.
subtest 'a user whose name is not ASCII' => sub {
    my $shell  = Testing::CommandLine->new;
    my $server = Testing::Server->start(
        'Starman', 't/data/names.psgi',
        workers => 2,
        env     => {EVENTSOURCE_RUNTIME_DIR => $shell->folder}
    );
    local $ENV{EVENTSOURCE_RUNTIME_DIR} = $shell->folder;
    my $hub = EventSource::Hub->new(name => 'names');
    for my $user ('josé', "\x{1F600}") {
        my @login = (Authorization => 'Basic ' . encode_base64(bytes_of("$user:x"), ''));
        my $path  = '/events/' . bytes_of($user) =~ s/([^a-z])/sprintf '%%%02X', ord $1/ger;
        my $open  = sub { Testing::Client->stream($server->port, $path, headers => [@login, @_]) };
        my $asked = sub { Testing::Client->ask($server->port, '/asked', headers => [@login])->body };
        my %end   = (
            'a command' =>
                sub { $shell->run('end', '--hub', 'names', '--label', bytes_of("user/$user"), '--finish')->{out} },
            'an application'         => sub { $hub->end(label  => "user/$user") . "\n" },
            'the end of its channel' => sub { $hub->end(topics => [$user]) . "\n" },
        );
        for my $how (sort keys %end) {
            my $stream = $open->();
            $hub->publish($user => "to $how");
            ok $stream->read_until(qr/^data: to \Q$how\E$/m), "$user reads what is published to the name";
            is $shell->run('members', '--hub', 'names', 'people')->{out} =~ s/\t.*//sr, bytes_of($user),
                'and is listed';
            my ($ticket) = $stream->header('Set-Cookie') =~ /\A([^;]+)/;
            my $again = $open->(Cookie => $ticket);
            is $again->header('EventSource-Owner'), $stream->header('EventSource-Owner'), 'comes back with a ticket';
            is $again->header('Set-Cookie'),        undef, 'for which the application is not asked';
            is $end{$how}->(),                      "2\n", "$how ends both streams";
            ok $_->read_all, 'which end' for $stream, $again;
            ok defined $open->(Cookie => $ticket)->header('Set-Cookie'), 'and the ticket is withdrawn'
                if $how eq 'an application';
            ok wait_until($DEADLINE, sub { !$hub->members('people') }), 'nobody is there' if $how ne 'an application';
        }
    }
};

done_testing;
