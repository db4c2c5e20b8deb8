package EventSource::XS::Doctor::Report;
use strict;
use warnings;

# The report of an examination: sentences for people, or one object for programs.

use EventSource::XS::Command;
use EventSource::XS::Doctor::Finding qw(number);
use JSON::MaybeXS                    ();
use Text::Wrap                       ();

my @VERDICTS = qw(wrong warning ok);
my $WIDTH    = 100;                    # columns
my $INDENT   = ' ' x 9;

sub new {
    my ($class, $doctor, @findings) = @_;
    return bless {doctor => $doctor, findings => \@findings}, $class;
}

# Public methods

sub count {
    my ($self, $verdict) = @_;
    return scalar grep { $_->{verdict} eq $verdict } @{$self->{findings}};
}

sub json {
    my $self   = shift;
    my $doctor = $self->{doctor};
    my @findings;
    for my $finding (@{$self->{findings}}) {
        push @findings, {map { ($_ => $finding->{$_}) } qw(check verdict sentence remedy configuration measured)};
    }
    my $report = {
        url          => $doctor->{url} ? "$doctor->{url}" : undef,
        seconds      => 0 + $doctor->{seconds},
        summary      => $self->summary,
        findings     => \@findings,
        measurements => $doctor->measurements,
        map { ($_ => $self->count($_)) } @VERDICTS
    };
    $report->{failure} = $doctor->failure if $doctor->failure;
    return JSON::MaybeXS->new(utf8 => 1, canonical => 1, pretty => 1)->encode($report);
}

sub summary {
    my $self = shift;
    my $what = $self->{doctor}{url} || $self->{doctor}{table};
    my ($wrong, $warnings, $ok) = map { $self->count($_) } @VERDICTS;
    my @parts = (
        $wrong
        ? number($wrong, 'thing is wrong', 'things are wrong')
        : 'nothing is wrong',
        $warnings ? number($warnings, 'warning', 'warnings') : (),
        number($ok, 'check is fine', 'checks are fine'),
    );
    return "$what: " . join(', ', @parts) . '.';
}

sub text {
    my $self = shift;
    my @paragraphs;
    for my $verdict (@VERDICTS) {
        push @paragraphs, map { _paragraph($_) } grep { $_->{verdict} eq $verdict } @{$self->{findings}};
    }
    my $text = join '', @paragraphs, "\n" x !!@paragraphs, $self->summary, "\n";
    utf8::encode($text) if $text =~ /[^\x00-\x7F]/;
    return $text;
}

# Private functions

sub _paragraph {
    my $finding = shift;
    my $verdict = $finding->{verdict};
    my $label   = sprintf '%-8s ', $verdict eq 'ok' ? 'ok' : uc $verdict;
    my $text    = _wrapped($label, $finding->{check} . ': ' . $finding->{sentence});
    return $text                                                if $verdict eq 'ok';
    $text .= _wrapped($INDENT, 'Remedy: ' . $finding->{remedy}) if defined $finding->{remedy};
    my $lines = $finding->{configuration};
    for my $proxy (sort { lc $a cmp lc $b } keys %$lines) {
        my $name = sprintf '%-9s', "$proxy:";
        for my $line (@{$lines->{$proxy}}) {
            $text .= "$INDENT  $name$line\n";
            $name = ' ' x 9;
        }
    }
    return "$text\n";
}

sub _wrapped {
    my ($first, $text) = @_;
    local $Text::Wrap::columns  = $WIDTH;
    local $Text::Wrap::huge     = 'overflow';
    local $Text::Wrap::unexpand = 0;
    return Text::Wrap::wrap($first, $INDENT, EventSource::XS::Command->visible($text)) . "\n";
}

1;
