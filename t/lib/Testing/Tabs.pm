package Testing::Tabs;
use Testing;

# A browser whose tabs share a stream of a named hub: t/browser/tabs.psgi on a Starman with four workers.
#
#   my $tabs = Testing::Tabs->start('Firefox');      # or a Testing::Browser that runs
#   $tabs->open(without => 'SharedWorker') for 1 .. 3;
#   $tabs->publish(100);
#   $tabs->each_has_all_ok('each tab has each event once, in order');

use EventSource::Hub;
use EventSource::XS::Test::PrivateHubs;
use JSON::MaybeXS qw(encode_json);
use Testing::Browser;
use Testing::Program;
use Testing::Server qw(path);

# How the tabs come to their stream, by the query of the page.
my @WAYS = (
    ['a SharedWorker'   => ()],
    ['an elected tab'   => (without => 'SharedWorker')],
    ['each tab its own' => (without => 'SharedWorker,locks')],
);

my $count = 0;

my $PUBLISHER = 'my ($hub, $from, $to, $every) = (EventSource::Hub->new(JSON::PP::decode_json(shift)), @ARGV);'
    . 'for ($from .. $to) { $hub->publish(numbers => $_); Time::HiRes::sleep($every) }';

sub browser { return $_[0]{browser} }

sub close_tabs { $_->close for $_[0]->tabs; return }

sub hub    { return $_[0]{hub} }
sub server { return $_[0]{server} }

# Waits until each tab has the last number; a test of that each has all since its first one.
sub each_has_all_ok {
    my ($self, $name) = @_;
    my @tabs = $self->tabs;
    my %trouble;
    my $last = $self->{published};
    wait_until $DEADLINE, sub {
        @tabs = grep {
            !eval { $_->evaluate("received.at(-1) === $last") }
        } @tabs;
        return !@tabs;
    };
    $trouble{$_->{name}} = 'has ' . (eval { $_->evaluate('`${received.at(-1)} ${events.slice(-5)}`') } // $@) for @tabs;
    for my $tab ($self->tabs) {
        my @violations = @{$tab->evaluate('violations()')};
        $trouble{$tab->{name}} //= "has @violations[0 .. ($#violations < 5 ? $#violations : 5)]" if @violations;
    }
    return is_deeply(\%trouble, {}, $name);
}

# Kills the process of what reads the stream for the tabs, or closes its tab. Others in that process are killed with it.
sub end_reader {
    my ($self, $how) = @_;
    if    ($self->{page}{without}) { $self->leader->$how }
    elsif ($how eq 'kill')         { $self->{browser}->kill_worker }
    else                           { ($self->tabs)[0]->close }
    $_->close for grep { $_->is_killed } $self->{browser}->tabs;
    return;
}

# Kills the hub process, and waits for the next one.
sub kill_hub {
    my $self = shift;
    my $pid  = $self->{hub}->stats->{process}{pid};
    kill KILL => $pid;
    wait_until $DEADLINE, sub {
        ((eval { $self->{hub}->stats } || {})->{process}{pid} || $pid) != $pid;
    } or die "Tabs: no hub process\n";
    return;
}

# The tab that reads the stream for the others.
sub leader {
    my $self = shift;
    my ($first) = $self->tabs;
    my $leader;
    wait_until($DEADLINE, sub { defined($leader = $first->evaluate('leader()')) }) or return;
    return (grep { $_->{name} eq $leader } $self->tabs)[0];
}

# Opens a tab with the page, and waits until it has its stream, and a position: a tab whose reader ends before is given a gap.
# Besides the query: site, another server for the page; waits => 1, the stream is not open at once.
sub open {
    my ($self, %query) = @_;
    my $waits = delete $query{waits};
    my $name  = ++$self->{opened};
    my $tab   = $self->{browser}->new_tab($self->url(%{$self->{page}}, %query, tab => $name));
    $tab->{name} = $name;
    $waits
        or $tab->wait_for('window.hub?.readyState === 1 && hub.lastEventId', "tab $name has its stream")
        or die "Tabs: no stream\n";
    push @{$self->{all}}, $tab;
    return $tab;
}

# Publishes so many of the next numbers, and tests that each tab has all.
sub each_receives_ok {
    my ($self, $count, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $self->publish($count);
    return $self->each_has_all_ok($name);
}

# Publishes so many of the next numbers.
sub publish {
    my ($self, $count) = @_;
    $self->{hub}->publish(numbers => $_) for $self->{published} + 1 .. $self->{published} + $count;
    $self->{published} += $count;
    return;
}

# The same, in another process, one each so many seconds. Returns it.
sub publish_meanwhile {
    my ($self, $count, $every) = @_;
    my @numbers = ($self->{published} + 1, $self->{published} + $count);
    my @command = (
        qw(-MEventSource::Hub -MJSON::PP -MTime::HiRes -e),
        $PUBLISHER, encode_json($self->{settings}),
        @numbers,   $every
    );
    $self->{published} += $count;
    return Testing::Program->start(\@command);
}

# How often the bundle that reads streams has been refused.
sub refusals { return -s "$_[0]{folder}/missing" || 0 }

sub require_or_skip_all {
    Testing->need('named_hubs');
    Testing::Server->require_or_skip_all('Starman');
    return Testing::Browser->require_or_skip_all($_[1]);
}

# Has /busy refuse its streams, or the script its bundle that reads streams; or accept them.
sub set_busy    { return _set_file("$_[0]{folder}/busy",    $_[1]) }
sub set_missing { return _set_file("$_[0]{folder}/missing", $_[1]) }

# Options: page, a hash of what the URLs of all its pages have; env, variables of the server; and those of the hub.
sub start {
    my ($class, $browser, %hub) = @_;
    my ($page, $env) = (delete $hub{page} || {}, delete $hub{env});
    EventSource::XS::Test::PrivateHubs->begin;
    my %settings = (name => 'tabs' . ++$count, retry => [50, 100], keep_history => {events => 20_000}, %hub);
    my $folder   = new_folder;
    my %env    = (HUB => encode_json(\%settings), BUSY => "$folder/busy", MISSING => "$folder/missing", %{$env || {}});
    my $server = Testing::Server->start('Starman', 't/browser/tabs.psgi', workers => 4, env => \%env);
    return bless {
        browser   => ref $browser ? $browser : Testing::Browser->start($browser),
        hub       => EventSource::Hub->new(%settings),
        server    => $server,
        settings  => \%settings,
        folder    => $folder,
        page      => $page,
        published => 0,
        all       => [],
    }, $class;
}

sub streams { return $_[0]{hub}->stats->{streams} }

# The open tabs with the page.
sub tabs {
    my %is_open = map { ($_ => 1) } $_[0]{browser}->tabs;
    return grep { $is_open{$_} && !$_->is_killed } @{$_[0]{all}};
}

sub url {
    my ($self, %query) = @_;
    my $site = delete $query{site} || $self->{server};
    return 'http://127.0.0.1:' . $site->port . path('/page', url => '/numbers', %query);
}

sub ways { return @WAYS }

sub _set_file {
    my ($file, $is_there) = @_;
    return $is_there ? CORE::open(my $new, '>', $file) : unlink $file;
}

1;
