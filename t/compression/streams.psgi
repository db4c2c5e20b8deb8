# The application of t/compression: streams with a content coding. The settings of the hub come from the environment, as JSON.
# The query of a stream names its channels, and the name under which its connection is held.
#
#   /hub       streams of the hub                  /state      with start => 'state'
#   /held      of Plack::App::EventSource, CRLF    /spawned    a child pushes: first one text, then each line of a file
#   /deflated  behind Plack::Middleware::Deflater  /filtered   behind a filter of the body that changes nothing
#   /reader    a page that reads /lf with its own query, and publishes what it sees to the channel 'told'
#   /length    the application sets Content-Length /encoded    the application sets Content-Encoding

use Testing::Application qw(answer answers filtered query);
use EventSource::Hub;
use EventSource::XS;
use JSON::PP ();
use Plack::App::EventSource;
use Plack::App::EventSource::PubSub;
use Plack::Builder;

my $JSON = JSON::PP->new->canonical;
my $hub  = EventSource::Hub->new(compress => 1, %{$JSON->decode($ENV{HUB_SETTINGS} || '{"per_process":1}')});
my %HELD;

sub channels { my %query = query(@_); return split /,/, $query{channels} // 'news' }

sub app {
    return $hub->to_app(channels => \&channels, @_);
}

sub held {
    my $handler = shift;
    return Plack::App::EventSource->new(compress => 1, retry => [2_000, 2_000], handler_cb => $handler, @_)->to_app;
}

sub hold {
    my ($conn, $env) = @_;
    my %query = query($env);
    $HELD{$query{name}} = $conn;
    $conn->push($_) for split /,/, $query{first} // '';
    $hub->subscribe($conn, channels($env)) if $query{channels};
    return;
}

# The child reads the lines of a pipe, which it makes itself, and which a test opens.
sub spawned {
    my ($conn, $env) = @_;
    my %query = query($env);
    $conn->push('before');
    $conn->spawn(
        sub {
            my $child = shift;
            open my $lines, '<', $query{fifo} or die "$query{fifo}: $!\n";
            while (my $line = <$lines>) { chomp $line; $child->push($line) }
        }
    );
    return;
}

my %PATH = (
    publish => sub {
        my %query = (channel => 'news', count => 1, from => 1, rows => 1, @_);
        my @ids;
        for my $number ($query{from} .. $query{from} + $query{count} - 1) {
            my $text = $query{data} // "number $number. " . join '', map { "<td>cell $_</td>" } 1 .. $query{rows};
            push @ids,
                $hub->publish($query{channel}, {data => $text, $query{key} ? (key => $query{key}, retain => 1) : ()});
        }
        return join ' ', @ids;
    },
    noise => sub {
        my %query = @_;
        my $id;
        for (1 .. $query{count}) {
            $id = $hub->publish(news => join '', map { chr 33 + int rand 94 } 1 .. $query{bytes});
        }
        return $id;
    },
    push => sub { my %query = @_; return $HELD{$query{name}}->push($query{data}) ? 1 : 0 },
    both => sub {
        my %query = @_;
        $hub->publish(news => $query{data});
        $HELD{$query{name}}->push($query{data});
        return $hub->publish(news => $query{data});
    },
    close  => sub { my %query = @_; $HELD{$query{name}}->close;  return 'closed' },
    finish => sub { my %query = @_; $HELD{$query{name}}->finish; return 'finished' },
    drain  => sub { $hub->drain(0); return 'drains' },
    page   => sub { return 'a page' },
    stats  => sub { return $JSON->encode({%{$hub->stats}, worker => $$, all => EventSource::XS->stats}) },
);

# A browser that has no remote control tells the test in this way, one thing after the other.
my $READER = <<'HTML';
<!DOCTYPE html><title>reader</title><script>
const source = new EventSource('/lf' + location.search);
let told = Promise.resolve();
const tell = text => { told = told.then(() => fetch('/publish?channel=told&data=' + encodeURIComponent(text))); };
fetch('/accepts').then(response => response.text()).then(text => tell('accepts ' + text.replaceAll(' ', '')));
source.onopen    = () => tell('open');
source.onmessage = event => tell(event.data.slice(0, 20));
source.onerror   = () => { source.close(); tell('end'); };
</script>
HTML

builder {
    mount '/favicon.ico' => sub { return [204, [], []] };
    mount '/accepts'     => sub { return answer($_[0]{HTTP_ACCEPT_ENCODING}) };
    enable sub {    # a query may name the one coding that is accepted
        my $app = shift;
        return sub {
            my $env   = shift;
            my %query = query($env);
            $env->{HTTP_ACCEPT_ENCODING} = $query{accepts} if defined $query{accepts};
            return $app->($env);
        };
    };
    mount '/reader'  => sub { return [200, ['Content-Type' => 'text/html'], [$READER]] };
    mount "/$_"      => answers($PATH{$_}) for keys %PATH;
    mount '/hub'     => app();
    mount '/quiet'   => app(keepalive => 0.2);
    mount '/state'   => app(start     => 'state');
    mount '/held'    => held(\&hold);
    mount '/lf'      => held(\&hold, line_end => 'lf');
    mount '/spawned' => held(\&spawned);
    mount '/length'  => held(sub { $_[0]->push('one'); $_[0]->close }, headers => ['Content-Length' => 1_000]);
    mount '/encoded' => held(sub { $_[0]->push('one'); $_[0]->close }, headers => ['Content-Encoding' => 'identity']);
    mount '/off'     => app(compress => 0);
    mount '/nodes' =>
        Plack::App::EventSource::PubSub->new(hub => $hub, nodes => ['news'], compress => 1, authorize => sub { 1 })
        ->to_app;
    mount '/filtered' => filtered(app());
    mount '/deflated' => builder { enable 'Deflater', content_type => 'text/event-stream'; app() };
    mount '/others'   => builder { enable 'Deflater', content_type => 'text/html';         app() };
};
