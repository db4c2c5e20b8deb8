package EventSource::XS::XMPP::Connection;
use strict;
use warnings;

# The connection to an XMPP server, of AnyEvent::XMPP, with what that library lacks (0.55):
#
# - TLS is required, and the certificate has to be that of the domain (RFC 6120, section 13.7.2); the library checks none
# - passwords are sent over TLS only, and only by SASL
# - bytes go to the parser as they come: the library decodes each piece on its own, and a character that two reads share is lost
# - a stanza has a bound; a longer one is skipped, so that one item of a node cannot end the connection again and again
# - an answer counts only if it comes from the entity that was asked
# - the secret of a component is hashed as it is (XEP-0114, section 3); the library escapes it for XML first
#
# The library negotiates the stream and SASL, and expat reads the XML. The classes of a client and of a component are at the
# end.

use AnyEvent;
use AnyEvent::TLS ();
use AnyEvent::XMPP::Component;
use AnyEvent::XMPP::Connection;
use Digest::SHA qw(sha1_hex);
use EventSource::XS::XMPP::Parser;
use EventSource::XS::XMPP::Stanza;
use Scalar::Util qw(weaken);
use mro 'c3';

my $STANZA = 'EventSource::XS::XMPP::Stanza';

my $ASK_WITHIN = 60;    # seconds for an answer

# The conditions of errors with which no later attempt succeeds, unless somebody changes the server or the credentials.
my %IS_FINAL = map { $_ => 1 } qw(
    account-disabled credentials-expired invalid-authzid invalid-mechanism mechanism-too-weak not-authorized
);

# Public methods

# Sends a request, and calls code with the answer: a node, or undef and the name of the error's condition.
sub ask {
    my ($self, $to, $type, $content, $code) = @_;
    my $id = join '-', $self->{own_ids}, ++$self->{asked};
    $self->{asks}{$id} = {to => lc $to, code => $code, timer => undef};
    weaken(my $weak = $self);
    $self->{asks}{$id}{timer} = AnyEvent->timer(
        after => $ASK_WITHIN,
        cb    => sub {
            my $ask = delete $weak->{asks}{$id} or return;
            $ask->{code}->(undef, 'remote-server-timeout');
        }
    );
    $self->write_data($STANZA->iq($id, $type, $to, $self->own_jid, $content));
    return;
}

# Ends the connection. Nothing is called any more.
sub close {
    my $self = shift;
    delete @$self{qw(asks on_end on_message on_ready)};
    return                              if $self->{is_closed}++;
    $self->{writer}->send_end_of_stream if $self->is_ready && $self->{handle} && $self->{writer};
    $self->disconnect('closed');
    return;
}

sub is_ready { return defined $_[0]{own_jid} }

# Options: jid, host, port, password, ca (the path of a file), tls, max_stanza (bytes), on_ready, on_message (with a node),
# on_end (with a reason, and true if the credentials are at fault).
sub open {
    my ($class, %option) = @_;
    my $self = $class->_new(%option);
    @$self{qw(asks asked own_ids option)}  = ({}, 0, sprintf('%x', int rand 2**31), \%option);
    @$self{qw(on_ready on_message on_end)} = delete @option{qw(on_ready on_message on_end)};
    bless $self->{parser}, 'EventSource::XS::XMPP::Parser';
    weaken(my $weak = $self);
    $self->{parser}->bound($option{max_stanza}, sub { $weak->_take_skipped(@_) });
    $self->{parser}->restart;
    $self->reg_cb(
        error                     => sub { $_[0]->_note_error($_[1]) },
        disconnect                => sub { $_[0]->_end($_[3]) },
        stream_ready              => sub { $_[0]->_become_ready($_[1]) },
        session_ready             => sub { $_[0]->_become_ready },
        stream_pre_authentication => sub { $_[0]->_may_authenticate($_[1]) },
    );
    $self->connect;
    return $self;
}

# The JID that the server has given this connection; undef until it is ready.
sub own_jid { return $_[0]{own_jid} }

# Methods that the library calls

# The library's callback decodes each piece.
sub connected {
    my $self   = shift;
    my $handle = $self->{handle};
    $handle->{peername} = $self->{domain};
    weaken(my $weak = $self);
    $handle->on_error(sub { $weak->disconnect($_[2]) if $weak });
    $handle->on_starttls(sub { $weak->disconnect("TLS: $_[2]") if $weak && !$_[1] });
    $handle->on_read(
        sub {
            my $bytes = delete $_[0]{rbuf};
            $_[0]{rbuf} = '';
            $weak->handle_data(\$bytes) if $weak && !$weak->{is_closed};
        }
    );
    return $self->next::method;
}

sub enable_ssl {
    my $self = shift;
    my $ca   = $self->{option}{ca};
    $self->{handle}->starttls(
        'connect',
        {
            verify          => 1,
            verify_peername => 'xmpp',
            tlsv1           => 0,
            tlsv1_1         => 0,
            defined $ca ? (ca_file => $ca) : (),
        }
    );
    $self->{ssl_enabled} = 1;
    return;
}

# TLS and SASL restart the stream when the parser has returned. In between the server has nothing to say: more bytes would be
# an attempt to have words from before TLS count.
sub handle_stanza {
    my ($self, $parser, $node) = @_;
    return                                                               if $self->{is_closed};
    return $self->disconnect('the server does not keep to the protocol') if $self->{restarted_by};
    if ($node && ($node->eq(tls => 'proceed') || $node->eq(sasl => 'success'))) {
        $self->{restarted_by} = $node;
        return;
    }
    return if $node && $node->eq($self->default_namespace => 'iq')      && $self->_take_answer($node);
    return if $node && $node->eq($self->default_namespace => 'message') && $self->_take_message($node);
    return $self->next::method($parser, $node);
}

sub handle_data {
    my ($self, $bytes) = @_;
    $self->{parser}->feed($$bytes);
    my $parser = $self->{parser}              or return;
    my $node   = delete $self->{restarted_by} or return;
    my $before = $parser->before;
    $self->AnyEvent::XMPP::Connection::handle_stanza($parser, $node);
    $before->release;
    return;
}

# Private methods

# The request with the id of a node, if that comes from whom was asked. It is answered then.
sub _answered {
    my ($self, $node) = @_;
    my $id  = $node->attr('id') // '';
    my $ask = $self->{asks}{$id} or return;
    return lc($node->attr('from') || '') eq $ask->{to} ? delete $self->{asks}{$id} : ();
}

sub _become_ready {
    my ($self, $jid) = @_;
    $self->{own_jid} = $jid // $self->{domain};
    my $code = $self->{on_ready} or return;
    $code->($self);
    return;
}

sub _end {
    my ($self, $reason) = @_;
    my $code = delete $self->{on_end};
    delete @$self{qw(asks on_message on_ready)};
    $self->{is_closed} = 1;
    $self->{parser}->end     if $self->{parser};
    $reason = $self->{error} if defined $self->{error};
    $reason =~ s/[^\x20-\x7E]+/ /g;
    $reason = substr $reason, 0, 200;
    $code->($reason, $self->{is_final}) if $code;
    return;
}

# Only what was sent before TLS may not be believed.
sub _may_authenticate {
    my ($self, $continue) = @_;
    return if $self->{ssl_enabled} || !$self->{option}{tls};
    $$continue = 0;
    $self->{error} = 'the server does not offer TLS';
    $self->disconnect($self->{error});
    return;
}

sub _note_error {
    my ($self, $error) = @_;
    $self->{error} = $error->string if !defined $self->{error};
    my $condition =
          $error->isa('AnyEvent::XMPP::Error::SASL')   ? $error->condition
        : $error->isa('AnyEvent::XMPP::Error::Stream') ? $error->name
        :                                                '';
    $self->{is_final} = 1             if $IS_FINAL{$condition || ''};
    $self->disconnect($self->{error}) if $error->isa('AnyEvent::XMPP::Error::Exception') && !$self->{is_closed};
    return;
}

# Returns true if the node answers a request of ours. What another entity sends with its id is dropped.
sub _take_answer {
    my ($self, $node) = @_;
    return !!0             if ($node->attr('type') || '') !~ /\A(?:result|error)\z/;
    return $self->is_ready if !$self->{asks}{$node->attr('id') // ''};
    my $ask = $self->_answered($node) or return !!1;
    $ask->{code}->($node->attr('type') eq 'result' ? $node : (undef, $STANZA->condition($node)));
    return !!1;
}

sub _take_message {
    my ($self, $node) = @_;
    $self->{on_message}->($node) if $self->{on_message} && ($node->attr('type') || '') ne 'error';
    return !!1;
}

# A stanza was longer than the bound.
sub _take_skipped {
    my ($self, $node) = @_;
    my $ask = $self->_answered($node) or return;
    $ask->{code}->(undef, 'too-long');
    return;
}

# The two kinds

my @COMMON = (disable_iq_auth => 1, disable_old_jabber_authentication => 1, connect_timeout => 30);

package EventSource::XS::XMPP::Connection::Client;
use mro 'c3';
our @ISA = qw(EventSource::XS::XMPP::Connection AnyEvent::XMPP::Connection);

sub _new {
    my ($class, %option) = @_;
    return $class->AnyEvent::XMPP::Connection::new(
        @COMMON,
        jid      => $option{jid},
        password => $option{password},
        map { defined $option{$_} ? ($_ => $option{$_}) : () } qw(host port),
    );
}

package EventSource::XS::XMPP::Connection::Component;
use mro 'c3';
our @ISA = qw(EventSource::XS::XMPP::Connection AnyEvent::XMPP::Component);

# A component has no TLS (XEP-0114).
sub _new {
    my ($class, %option) = @_;
    my $self = $class->AnyEvent::XMPP::Component::new(
        @COMMON,
        domain      => $option{jid},
        host        => defined $option{host} ? $option{host} : $option{jid},
        disable_ssl => 1,
        defined $option{port} ? (port => $option{port}) : (),
    );
    utf8::encode(my $secret = $option{password});
    $self->{parser}->set_stream_cb(
        sub {
            my $id = $_[0]->attr('id');
            utf8::encode($id = defined $id ? $id : '');
            $self->write_data('<handshake>' . Digest::SHA::sha1_hex($id . $secret) . '</handshake>');
        }
    );
    return $self;
}

1;
