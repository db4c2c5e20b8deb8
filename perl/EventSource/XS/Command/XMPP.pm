package EventSource::XS::Command::XMPP;
use strict;
use warnings;

# `eventsource xmpp`: runs EventSource::XMPP as a program of its own, until a signal ends it.

use EventSource::XS::Command;

my $COMMAND = 'EventSource::XS::Command';

my @OPTIONS = qw(
    hub=s socket=s jid=s service=s password-from=s host=s port=i ca=s no-tls prefix=s format=s start=s max-items=i
    max-stanza=i poll=f newest-first publish node=s@
);

# The settings of EventSource::XMPP, by the options of the command.
my %SETTING = map { $_ => tr/-/_/r }
    qw(ca format host jid max-items max-stanza newest-first poll port prefix publish service start);

sub run {
    my ($class, @arguments) = @_;
    my $option = $COMMAND->options('xmpp', \@arguments, @OPTIONS);
    my %given  = map { defined $option->{$_} ? ($SETTING{$_} => _text($_, $option->{$_})) : () } keys %SETTING;
    $COMMAND->usage("which JID? --jid bridge.example.org, or user\@example.org/resource") if !defined $given{jid};
    $COMMAND->usage('which service? --service pubsub.example.org')                        if !defined $given{service};
    my @nodes =
        ((map { _text('--node', $_) } @{$option->{node} || []}), map { $COMMAND->topic('a node', $_) } @arguments);
    $COMMAND->usage('which nodes? Give names, or patterns such as "news/*"') if !@nodes;
    my %of_hub = $COMMAND->settings_of_hub($option);
    require EventSource::Hub;
    require EventSource::XMPP;
    my $password = _password($option->{'password-from'});
    my ($refused, $has_other_form, $done);
    my $report = sub {
        return $COMMAND->complain('xmpp', $_[0]) if $_[0] !~ /show_channel differs/;
        $has_other_form = 1;
        $done->send;
    };
    my @signals;
    do {
        $has_other_form = 0;
        my $bridge = eval {
            EventSource::XMPP->new(
                %given,
                hub        => EventSource::Hub->new(%of_hub, show_channel => _show_channel($option)),
                nodes      => \@nodes,
                password   => $password,
                tls        => !$option->{'no-tls'},
                report     => $report,
                on_refused => sub { $refused = shift; $done->send },
            );
        } or $COMMAND->usage($COMMAND->message_of($@));
        require AnyEvent;
        $done    = AnyEvent->condvar;
        @signals = map {
            AnyEvent->signal(signal => $_, cb => sub { $done->send })
        } qw(INT TERM);
        $bridge->start;
        $done->recv;
        $bridge->stop;
    } while $has_other_form;    # a worker has named it since: another hub object has it, too
    return if !defined $refused;
    $COMMAND->complain('xmpp', "the server refuses the login: $refused");
    return $COMMAND->exit_code_of('refused');
}

sub _password {
    my $file     = shift;
    my $variable = 'EVENTSOURCE_XMPP_PASSWORD';
    my $password = $COMMAND->secret($file, $variable);
    $COMMAND->usage("no password: --password-from FILE, or the environment variable $variable") if !defined $password;
    $COMMAND->usage("$file: its first line is empty") if defined $file && !length $password;
    return _text(defined $file ? $file : $variable, $password);
}

# Events of the bridge have the form of the hub's others. A hub without process and settings has none.
sub _show_channel {
    my $option = shift;
    local ($@, $SIG{__DIE__});
    return scalar eval { $COMMAND->connect($option)->show_channel };
}

sub _text { return $COMMAND->text(@_) }

1;
