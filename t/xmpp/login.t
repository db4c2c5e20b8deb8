# Logging in: wrong credentials and certificates, servers without TLS, and how often the bridge tries.

use lib 't/lib';
use Testing qw(Prosody);
use Testing::CommandLine;
use File::Temp ();
use Testing::XMPPBridge;

require Testing::XMPPClient;
Testing::XMPPClient->import(qw(text));

my $prosody = Testing::Prosody->start;

# Starts a bridge that is to fail, and returns what it says and its exit code, or undef if it tries again.
sub outcome {
    my ($as, @more) = @_;
    my $bridge = Testing::XMPPBridge->new($as, 'news')->start(@more);
    ok wait_until($DEADLINE, sub { $bridge->log =~ /^eventsource xmpp: /m }), 'it says what is wrong';
    my $ends = $bridge->log =~ /refuses the login|usage|--help/;
    wait_until($DEADLINE, sub { $bridge->program->has_ended }) if $ends;
    my $code = $bridge->program->has_ended ? $bridge->stop >> 8 : undef;
    my $said = $bridge->log;
    $bridge->stop;
    return ($said, $code);
}

subtest 'a wrong password' => sub {
    my ($said, $code) = outcome({$prosody->as_client, password => 'wrong'});
    like $said, qr/^eventsource xmpp: the server refuses the login: .*not-authorized/m, 'a client says so';
    is $code, 5, 'and ends with 5';
    ($said, $code) = outcome({$prosody->as_component, password => 'wrong'});
    like $said, qr/^eventsource xmpp: the server refuses the login: .*not-authorized/m, 'a component says so';
    is $code, 5, 'and ends with 5';
};

subtest 'a certificate of another authority, or for another name' => sub {
    my $other = File::Temp->newdir;
    my $ca    = Testing::Certificates->new("$other")->ca;
    my ($said, $code) = outcome({$prosody->as_client, ca => $ca});
    like $said, qr/^eventsource xmpp: no connection: .*certificate verify failed/mi, 'the authority is unknown';
    is $code, undef, 'and it tries again';
    ($said) = outcome({$prosody->as_client, jid => 'bridge@other.test/bridge'});
    like $said,   qr/^eventsource xmpp: no connection: /m, 'the certificate is not that of the domain';
    unlike $said, qr/refuses the login/,                   'and no password is sent';
};

subtest 'a server without TLS' => sub {
    my $plain = Testing::Prosody->start(tls => 0);
    my ($said, $code) = outcome({$plain->as_client});
    like $said, qr/^eventsource xmpp: no connection: the server does not offer TLS/m, 'is not sent a password';
    my $bridge = Testing::XMPPBridge->new({$plain->as_client}, 'news')->start('--no-tls');
    ok wait_until($DEADLINE, sub { $bridge->log =~ /no subscription to the node news: item-not-found/ }),
        'unless that is asked for';
};

subtest 'a server that is away' => sub {
    my $bridge = Testing::XMPPBridge->new({$prosody->as_client, port => 1}, 'news')->start;
    ok wait_until($DEADLINE, sub { $bridge->log =~ /no connection: / }), 'is reported';
    ok !$bridge->program->has_ended,                                     'and awaited';
    is $bridge->stop, 0, 'a signal ends that';
};

subtest 'a password that is changed while the bridge runs' => sub {
    my $bridge = Testing::XMPPBridge->new({$prosody->as_client('bob')}, 'news')->start;
    my $alice  = Testing::XMPPClient->login($prosody, 'alice');
    $alice->publish('news', 1, text('one'));
    is_deeply $bridge->data('news', 1), ['one'], 'it is connected';
    $prosody->change_password('bob', 'changed');
    $prosody->restart('KILL');
    ok wait_until($DEADLINE, sub { $bridge->log =~ /refuses the login .*in some minutes/ }),
        'it says when it tries again';
    ok !$bridge->program->has_ended, 'and does not end';
    is scalar(() = $bridge->log =~ /refuses/g), 1, 'it says so once';
};

subtest 'a wrong command line' => sub {
    my $shell = Testing::CommandLine->new;
    my @right = qw(xmpp --hub test --jid bridge.example.test --service pubsub.example.test news);
    local $ENV{EVENTSOURCE_XMPP_PASSWORD} = 'x';
    for my $case (
        [qr/which JID/,      grep { !/jid|bridge/ } @right],
        [qr/which service/,  grep { !/service|pubsub/ } @right],
        [qr/which nodes/,    grep { $_ ne 'news' } @right],
        [qr/which hub/,      grep { !/hub\z|test\z/ || /[.]/ } @right],
        [qr/format must be/, @right, '--format', 'yaml'],
        [qr/jid must be/,    map { $_ eq 'bridge.example.test' ? 'a@b@c' : $_ } @right],
    ) {
        my ($what, @arguments) = @$case;
        my $done = $shell->run(@arguments);
        like $done->{err}, $what, "$what";
        is $done->{code}, 2, 'ends with 2';
    }
    delete $ENV{EVENTSOURCE_XMPP_PASSWORD};
    my $done = $shell->run(@right);
    like $done->{err}, qr/no password/, 'without a password';
    is $done->{code}, 2, 'it ends with 2';
    my $file = File::Temp->new;
    $done = $shell->run(@right, '--password-from', $file->filename);
    like $done->{err}, qr/first line is empty/, 'a file without a password';
};

done_testing;
