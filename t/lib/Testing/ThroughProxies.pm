package Testing::ThroughProxies;
use Testing;

# Pages of a browser that receive the events of a hub, each through another proxy (Testing::NamedProxies): what each has got,
# by which way, and how late.
#
#   my $through = Testing::ThroughProxies->start(names => [...], stream => {keepalive => 2});
#   my @rows    = $through->measure([['Firefox', 'TLS']], 25);
#   print "$_->{proxy} $_->{way} $_->{p99}\n" for @rows;

use EventSource::Hub;
use EventSource::XS::Test::PrivateHubs;
use JSON::MaybeXS qw(encode_json);
use Testing::Browser;
use Testing::Certificates;
use Testing::ConfiguredProxy;
use Testing::NamedProxies;
use Testing::Program;
use Testing::Server;
use Testing::SourceTree qw(slurp write_file);
use Time::HiRes         qw(sleep time);

my $FIRST  = 5;     # seconds of a page that do not count as delays
my $WITHIN = 30;    # seconds, for the last event
my %HUB    = (name => 'proxies', keep_history => {events => 20_000}, retry => [100, 300]);

# Publishes numbers with their times, from the next one to when it is told to end. It prints the last one.
my $PUBLISHER = <<'PERL';
use EventSource::Hub; use JSON::PP; use Time::HiRes qw(sleep time);
my ($hub, $number, $every, $ends) = (EventSource::Hub->new(%{decode_json(shift)}), @ARGV);
$SIG{TERM} = sub { $ends = 1 };
my $due = time;
until ($ends) {
    $hub->publish(numbers => {json => {number => 1 * ++$number, at => 1_000 * time}});
    $due += $every;
    my $early = $due - time;
    sleep $early if $early > 0;
}
print "last $number\n";
PERL

# A row as a line of text.
sub line {
    my ($self, $row) = @_;
    my %shown = map { ($_ => $row->{$_} // '-') } qw(browser scheme proxy way events lost twice disordered);
    my @times = map { defined $row->{$_} ? sprintf '%d', $row->{$_} : '-' } qw(p50 p99 max);
    return sprintf '%-8s %-5s %-24s %-6s %5s events, ms %s, lost %s, twice %s, out of order %s; %s',
        @shown{qw(browser scheme proxy way events)}, join(' ', @times), @shown{qw(lost twice disordered)},
        join ', ', @{$row->{ways} || []}, map { "gap $_" } @{$row->{gaps} || []};
}

# Opens a page through each proxy in each of the browsers, and publishes so many events a second for so many seconds after the
# last one is open. Each browser is its name and a scheme: plain or TLS. Returns a row for each page: what it has seen, with
# browser, scheme, proxy, and end, the last number.
#
# Options: rate, by default 20 events a second; meanwhile, a function that is called ten times a second; last, one that is
# called before the wait for the last event.
sub measure {
    my ($self, $browsers, $seconds, %option) = @_;
    my $publisher = $self->_publish(1 / ($option{rate} || 20));
    my (@running, @pages);
    for my $browser (@$browsers) {
        my ($name, $scheme) = @$browser;
        push @running, Testing::Browser->start($name);
        for my $proxy ($self->names) {
            my $tab = $running[-1]->new_tab($self->url($proxy, $scheme));
            push @pages, {tab => $tab, row => {browser => $name, scheme => $scheme, proxy => $proxy}};
        }
    }
    my $until = time + $seconds;
    while (time < $until) {
        $option{meanwhile}->() if $option{meanwhile};
        sleep 0.1;
    }
    $publisher->stop;
    $option{last}->() if $option{last};
    my ($last) = $publisher->log =~ /^last ([0-9]+)$/m or die 'ThroughProxies: ' . $publisher->log;
    $self->{last} = $last;    # a cache may have events of before
    my @left = @pages;
    wait_until $WITHIN, sub {
        @left = grep { ($_->{tab}->evaluate('window.last?.()') // 0) < $last } @left;
        return !@left;
    };
    my @rows;
    for my $page (@pages) {
        my $seen = $page->{tab}->evaluate("window.summary?.($FIRST)") || {};
        push @rows, {%$seen, %{$page->{row}}, end => $last};
    }
    return @rows;
}

sub names { return @{$_[0]{names}} }
sub proxy { return $_[0]{proxies}{$_[1]} }

sub server { return $_[0]{server} }

# Options: names, of the proxies; more, a hash of the options of a Testing::Middlebox by its name; stream, the settings of
# streams; every, the seconds after which the script tries a stream beside polls.
sub start {
    my ($class, %option) = @_;
    EventSource::XS::Test::PrivateHubs->begin;
    my %env    = (HUB => encode_json(\%HUB), STREAM => encode_json($option{stream} || {}), EVERY => $option{every});
    my $server = Testing::Server->start('Starman', 'xt/browser/proxies.psgi', workers => 4, env => \%env);
    my $folder = new_folder;
    my ($certificate, $key) = Testing::Certificates->new("$folder")->sign('proxy', 'IP:127.0.0.1');
    write_file("$folder/both.pem", join('', slurp($certificate), slurp($key)));
    my $self = bless {folder => $folder, server => $server, names => $option{names}}, $class;

    for my $name ($self->names) {
        $self->{proxies}{$name} = Testing::NamedProxies->start($name, $server, %{$option{more}{$name} || {}});
        $self->{tls}{$name}     = Testing::ConfiguredProxy->start('TLS', $self->{proxies}{$name}, "$folder/both.pem");
    }
    return $self;
}

sub url {
    my ($self, $name, $scheme) = @_;
    my $query = Testing::NamedProxies->query($name);
    return $self->{proxies}{$name}->url("/$query") if $scheme ne 'TLS';
    return $self->{tls}{$name}->url("/$query") =~ s/http/https/r;
}

sub _publish {
    my ($self, $every) = @_;
    return Testing::Program->start(['-e', $PUBLISHER, encode_json(\%HUB), $self->{last} // 0, $every]);
}

1;
